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

    def test_unknown_reason(self) -> None:
        """A reason nobody declared is a mistake, not a new count."""
        self.assertRaises(AttributeError, Stats().refuse, "mood")
