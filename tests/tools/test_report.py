"""Figures and verdicts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.device_voice import Heard
from xzgw.tools.report import faults, milliseconds, percentile


class FigureTests(SynchronousTestCase):
    """Percentiles."""

    def test_percentile(self) -> None:
        """The smallest value that so many percent do not exceed."""
        values = list(range(1, 101))
        self.assertEqual([percentile(values, p) for p in (0, 50, 95, 100)], [1, 50, 95, 100])
        self.assertEqual([percentile([3.0, 1.0], p) for p in (50, 51)], [1.0, 3.0])

    def test_line(self) -> None:
        """Seconds are shown as milliseconds; no values are no failure."""
        line = milliseconds("up", [0.001, 0.002, 0.0125])
        self.assertEqual(" ".join(line.split()), "up p50 2.00 ms p95 12.50 ms max 12.50 ms")
        self.assertEqual(milliseconds("up", []).split(), ["up", "nothing", "measured"])


class FaultTests(SynchronousTestCase):
    """What the demo takes for a fault."""

    packets = (b"a", b"b", b"c")
    stamps = (10, 20, 30)

    def faults(self, *heard: tuple[int, int, bytes]) -> list[str]:
        return faults(self.packets, self.stamps, [Heard(*one, at=0.0) for one in heard])

    def test_intact(self) -> None:
        """Everything back in order is no fault."""
        self.assertEqual(self.faults((1, 10, b"a"), (2, 20, b"b"), (3, 30, b"c")), [])

    def test_lost(self) -> None:
        """Missing packets are counted."""
        found = self.faults((1, 10, b"a"), (2, 20, b"b"))
        self.assertEqual(found, ["2 of 3 packets came back."])

    def test_damaged(self) -> None:
        """A changed byte is seen."""
        found = self.faults((1, 10, b"a"), (2, 20, b"x"), (3, 30, b"c"))
        self.assertEqual(found, ["1 packets came back damaged."])

    def test_timestamp(self) -> None:
        """A timestamp that was never sent is seen."""
        found = self.faults((1, 10, b"a"), (2, 21, b"b"), (3, 30, b"c"))
        self.assertEqual(found, ["1 packets came back with a timestamp that was never sent."])

    def test_order_and_sequence(self) -> None:
        """Another order and a gap in the sequence are seen."""
        found = self.faults((1, 20, b"b"), (2, 10, b"a"), (4, 30, b"c"))
        wanted = [
            "The packets came back in another order.",
            "The sequence numbers do not rise by one from 1.",
        ]
        self.assertEqual(found, wanted)
