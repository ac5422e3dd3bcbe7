"""Packet counts by name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.audio_stats import Stats


class StatsTests(SynchronousTestCase):
    """Counting and showing."""

    def test_refuse(self) -> None:
        """Refusals add up under their own reason, and nowhere else."""
        stats = Stats()
        stats.refuse("implausible")
        stats.refuse("implausible", 2)
        counts = stats.as_dict()
        self.assertEqual(counts.pop("refused_implausible"), 3)
        self.assertEqual(set(counts.values()), {0})

    def test_by_reason(self) -> None:
        """Refused and dropped packets, in all and by reason."""
        stats = Stats(dropped_empty=2, dropped_waiting=3, lost=9, late=1)
        stats.refuse("reflected", 4)
        stats.refuse("empty")
        self.assertEqual((stats.refused, stats.dropped), (5, 5))
        told = stats.refused_by()
        self.assertEqual((told.pop("reflected"), told.pop("empty")), (4, 1))
        self.assertEqual(set(told.values()), {0})
        self.assertIn("old_sequence", told)
        self.assertEqual(stats.dropped_by(), {"empty": 2, "oversized": 0, "waiting": 3})

    def test_add(self) -> None:
        """Every count is added, to this one only."""
        names = list(Stats().as_dict())
        one = Stats(*range(len(names)))
        other = Stats(*range(100, 100 + len(names)))
        one.add(other)
        self.assertEqual(list(one.as_dict().values()), [100 + 2 * n for n in range(len(names))])
        self.assertEqual(other, Stats(*range(100, 100 + len(names))))

    def test_unknown_reason(self) -> None:
        """A reason nobody declared is a mistake, not a new count."""
        self.assertRaises(AttributeError, Stats().refuse, "mood")
