"""Looks a while after something happened, few at a time."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.rounds import LOOK_AFTER, MOST, Rounds


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rounds = Rounds(self.clock.seconds)
        self.looks: list[int] = []

    def expect(self, number: int) -> None:
        """One look, which notes its number."""
        self.rounds.expect(lambda: self.looks.append(number))

    def look(self) -> list[int]:
        """A round; the looks made in it."""
        self.looks = []
        self.rounds.look()
        return self.looks

    def test_in_time(self) -> None:
        """Each once, not before its time, in order."""
        self.expect(1)
        self.clock.advance(1.0)
        self.expect(2)
        self.clock.advance(LOOK_AFTER - 1.5)
        self.assertEqual(self.look(), [])
        self.clock.advance(0.5)
        self.assertEqual(self.look(), [1])
        self.clock.advance(10.0)
        self.expect(3)
        self.assertEqual(self.look(), [2])

    def test_bounded(self) -> None:
        """So many in a round; the others are not forgotten."""
        for number in range(MOST + 5):
            self.expect(number)
        self.clock.advance(LOOK_AFTER)
        self.assertEqual(self.look(), list(range(MOST)))
        self.assertEqual(self.look(), list(range(MOST, MOST + 5)))

    def test_again(self) -> None:
        """A look may ask for another one, which is not of the same round."""
        self.rounds.expect(lambda: self.expect(1))
        self.clock.advance(LOOK_AFTER)
        self.assertEqual(self.look(), [])
        self.clock.advance(LOOK_AFTER)
        self.assertEqual(self.look(), [1])

    def test_fault(self) -> None:
        """A fault of one is logged, and the others are looked at."""
        self.rounds.expect(lambda: next(iter(())))
        self.expect(1)
        self.clock.advance(LOOK_AFTER)
        self.assertEqual(self.look(), [1])
        self.assertEqual(len(self.flushLoggedErrors(StopIteration)), 1)
