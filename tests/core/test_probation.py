"""Unbelieved sources are held until three consecutive packets speak for them."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.probation import CONFIRMATIONS, MAX_SOURCES, Address, Packet, Probation

HOME: Address = ("10.0.0.1", 4000)
AWAY: Address = ("10.0.0.2", 4000)


def packet(sequence: int) -> Packet:
    """A packet that its sequence tells apart."""
    return sequence, 0, b"\x58"


class ProbationTests(SynchronousTestCase):
    """Runs of packets, by source."""

    def setUp(self) -> None:
        self.refused: Counter[str] = Counter()
        self.probation = Probation(self.refuse)

    def refuse(self, reason: str, packets: int) -> None:
        """Count what is dropped."""
        self.refused[reason] += packets

    def offer(self, source: Address, sequence: int, duration: int = 60_000) -> list[int]:
        """Sequences that got confirmed by this packet."""
        run = self.probation.offer(source, packet(sequence), duration, source[0])
        return [confirmed[0] for confirmed in run]

    def test_three(self) -> None:
        """The third consecutive packet releases all three, in order, and nothing is kept."""
        self.assertEqual(CONFIRMATIONS, 3)
        self.assertEqual([self.offer(HOME, n) for n in (5, 6, 7)], [[], [], [5, 6, 7]])
        self.assertFalse(self.probation.runs)
        self.assertFalse(self.refused)

    def test_gap(self) -> None:
        """A gap or a step back starts over, and what was held is counted."""
        results = [self.offer(HOME, n) for n in (1, 2, 4, 5, 3, 4, 5)]
        self.assertEqual(results, [[], [], [], [], [], [], [3, 4, 5]])
        self.assertEqual(self.refused, {HOME[0]: 4})

    def test_duplicate(self) -> None:
        """A packet that the network doubled does not spoil the run."""
        results = [self.offer(HOME, n) for n in (1, 1, 2, 2, 3)]
        self.assertEqual(results, [[], [], [], [], [1, 2, 3]])
        self.assertEqual(self.refused, {"old_sequence": 2})

    def test_duration(self) -> None:
        """Another duration starts over."""
        results = [
            self.offer(HOME, 1, 20_000),
            self.offer(HOME, 2, 60_000),
            self.offer(HOME, 3, 60_000),
            self.offer(HOME, 4, 60_000),
        ]
        self.assertEqual(results, [[], [], [], [2, 3, 4]])
        self.assertEqual(self.refused, {HOME[0]: 1})

    def test_sources_apart(self) -> None:
        """Sources, ports included, do not help each other."""
        other_port = (HOME[0], 4001)
        sent = [(HOME, 1), (AWAY, 2), (other_port, 3), (HOME, 2), (AWAY, 3), (HOME, 3)]
        results = [self.offer(source, n) for source, n in sent]
        self.assertEqual(results, [[], [], [], [], [], [1, 2, 3]])

    def test_bounded(self) -> None:
        """A source too many displaces the one heard least recently, whose packets are counted."""
        for n in range(MAX_SOURCES):
            self.offer(("10.0.1.1", n), 1)
        self.offer(("10.0.1.1", 0), 2)
        self.offer(HOME, 1)
        self.assertEqual(len(self.probation.runs), MAX_SOURCES)
        self.assertNotIn(("10.0.1.1", 1), self.probation.runs)
        self.assertEqual(self.refused, {"10.0.1.1": 1})
        self.assertEqual(self.offer(("10.0.1.1", 0), 3), [1, 2, 3])

    def test_flood(self) -> None:
        """One source that floods spoils nobody else's run."""
        results = []
        for n in (1, 2, 3):
            results.append(self.offer(HOME, n))
            for step in range(50):
                self.offer(AWAY, 1000 * n + 2 * step)
        self.assertEqual(results, [[], [], [1, 2, 3]])

    def test_clear(self) -> None:
        """Clearing drops all that is held, each under its reason."""
        self.offer(HOME, 1)
        self.offer(HOME, 2)
        self.offer(AWAY, 2)
        self.probation.clear()
        self.assertFalse(self.probation.runs)
        self.assertEqual(self.refused, {HOME[0]: 2, AWAY[0]: 1})
