"""Sums over all sessions, and their histograms."""

from __future__ import annotations

from dataclasses import fields

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core import totals
from xzgw.core.findings import Cause
from xzgw.core.totals import Histogram, Totals


class HistogramTests(SynchronousTestCase):
    """Counts by bounds."""

    def test_observe(self) -> None:
        """A value counts for the lowest bound that is not below it, or for none of them."""
        histogram = Histogram((0.5, 1.0))
        for value in (0.0, 0.5, 0.75, 1.0, 4.0):
            histogram.observe(value)
        self.assertEqual(histogram.counts, [2, 2, 1])
        self.assertEqual((histogram.total, histogram.sum), (5, 6.25))

    def test_bounds(self) -> None:
        """All that are in use rise."""
        for field in fields(Totals):
            histogram = getattr(Totals(), field.name)
            if isinstance(histogram, Histogram):
                self.assertEqual(sorted(set(histogram.bounds)), list(histogram.bounds), field.name)


class TotalsTests(SynchronousTestCase):
    """The whole of it."""

    def test_nothing(self) -> None:
        """Every kind of ending is there from the start."""
        self.assertEqual(set(Totals().ended), set(totals.ENDINGS))
        self.assertEqual(set(Totals().ended.values()), {0})

    def test_copy(self) -> None:
        """Equal, and no part of it is shared."""
        one = Totals(*range(1, 3))
        for n, field in enumerate(fields(Totals)):
            if isinstance(getattr(one, field.name), int):
                setattr(one, field.name, n + 1)
        other = one.copy()
        self.assertEqual(other, one)
        one.ended["server"] += 1
        one.diagnosed[Cause.NO_UDP] += 1
        one.audio.lost += 1
        for histogram in (one.setup, one.answer, one.jitter_up, one.jitter_down, one.quality):
            histogram.observe(0.0)
        for field in fields(Totals):
            same = getattr(other, field.name) == getattr(one, field.name)
            self.assertEqual(same, isinstance(getattr(one, field.name), int), field.name)
