"""Waiting for steps."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.steps import StepError, Watch


class WatchTests(SynchronousTestCase):
    """Conditions over a list that the tests fill."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watch = Watch(self.clock)
        self.items: list[int] = []

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def take(self) -> int | None:
        return self.items.pop(0) if self.items else None

    def test_already_there(self) -> None:
        """A condition that holds already fires at once."""
        self.items = [7]
        self.assertEqual(self.successResultOf(self.watch.until("s", self.take, 1)), 7)

    def test_later(self) -> None:
        """Waits fire in the order in which they began, each for what it took."""
        first, second = (self.watch.until("s", self.take, 1) for _ in range(2))
        self.watch.changed()
        self.assertNoResult(first)
        self.items = [1]
        self.watch.changed()
        self.assertEqual(self.successResultOf(first), 1)
        self.assertNoResult(second)
        self.items = [2]
        self.watch.changed()
        self.assertEqual(self.successResultOf(second), 2)

    def test_too_late(self) -> None:
        """A wait that takes too long fails with its step and its time, and takes nothing later."""
        wait = self.watch.until("hello", self.take, 2.5)
        self.clock.advance(2.5)
        self.assertEqual(
            str(self.failureResultOf(wait, StepError).value), "hello: nothing within 2.5 s"
        )
        self.items = [1]
        self.watch.changed()
        self.assertEqual(self.items, [1])

    def test_close(self) -> None:
        """Closing fails all waits, later ones included, with the reason; what is there is given."""
        wait = self.watch.until("hello", self.take, 1)
        self.watch.close("the line is dead")
        later = self.watch.until("ping", self.take, 1)
        for failed, step in ((wait, "hello"), (later, "ping")):
            error = self.failureResultOf(failed, StepError).value
            self.assertEqual(str(error), f"{step}: the line is dead")
        self.items = [1]
        self.assertEqual(self.successResultOf(self.watch.until("s", self.take, 1)), 1)

    def test_callback_ends_another_wait(self) -> None:
        """A wait that an earlier one's callback cancels is not looked at any more."""
        first, second = (self.watch.until("s", self.take, 1) for _ in range(2))
        first.addCallback(lambda _: second.cancel())
        second.addErrback(lambda _: None)
        self.items = [1, 2]
        self.watch.changed()
        self.successResultOf(second)
        self.assertEqual(self.items, [2])
