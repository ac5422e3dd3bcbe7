"""Interarrival jitter against the formulas of RFC 3550, computed again in another way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.jitter import GAP, PAUSE, Jitter

START = 1757567894.9  # unix seconds
# (seconds from the packet before, seconds of audio between the two); binary fractions are exact.
STEPS = st.lists(
    st.tuples(st.integers(0, 127).map(lambda n: n / 128), st.integers(1, 15).map(lambda n: n / 16)),
    max_size=40,
)


def measured(steps: Sequence[tuple[float, float]], start: float = START) -> float:
    """What Jitter makes of a packet at `start` and of those that follow it."""
    jitter = Jitter()
    now = start
    jitter.arrived(now, 0.0625)
    for later, spacing in steps:
        now += later
        jitter.arrived(now, spacing)
    return jitter.seconds


def rfc3550(arrivals: Sequence[float], timestamps: Sequence[float]) -> float:
    """RFC 3550 section 6.4.1, by the packets' transit times as its appendix A.8 does."""
    jitter = 0.0
    transits = [r - s for r, s in zip(arrivals, timestamps, strict=True)]
    for before, transit in pairwise(transits):
        jitter += (1 / 16) * (abs(transit - before) - jitter)
    return jitter


class JitterTests(SynchronousTestCase):
    """One stream."""

    def test_nothing(self) -> None:
        """Before the second packet there is no jitter, whatever the clock shows."""
        self.assertEqual(Jitter().seconds, 0.0)
        for start in (0.0, 0.5, START):
            self.assertEqual(measured([], start), 0.0)

    def test_even(self) -> None:
        """Packets as far apart as their audio have none."""
        self.assertEqual(measured([(0.0625, 0.0625)] * 100), 0.0)

    def test_first_deviations(self) -> None:
        """Each deviation, early or late alike, counts for a sixteenth."""
        self.assertEqual(measured([(0.125, 0.0625)]), 0.0625 / 16)
        self.assertEqual(measured([(0.0, 0.0625)]), 0.0625 / 16)

    def test_steady_deviation(self) -> None:
        """It comes to what each packet deviates by."""
        self.assertAlmostEqual(measured([(0.125, 0.0625), (0.0, 0.0625)] * 200), 0.0625, places=6)

    @given(STEPS)
    @settings(derandomize=True, deadline=None)
    def test_rfc(self, steps: list[tuple[float, float]]) -> None:
        """It is that of RFC 3550 A.8, reckoned from arrival times and timestamps."""
        arrivals, timestamps = [START], [0.0]
        for later, spacing in steps:
            arrivals.append(arrivals[-1] + later)
            timestamps.append(timestamps[-1] + spacing)
        self.assertAlmostEqual(measured(steps), rfc3550(arrivals, timestamps), places=9)

    def test_pause(self) -> None:
        """A pause in speech is no jitter, nor is a jump of the sequence; they change nothing."""
        self.assertEqual(PAUSE, 1.0)
        late, early = (PAUSE + 0.0625, 0.0625), (0.0625, PAUSE + 0.0625)
        self.assertEqual(measured([late, early]), 0.0)
        steps = [(0.125, 0.0625), (0.03125, 0.0625)]
        self.assertEqual(measured([steps[0], late, early, steps[1]]), measured(steps))

    def test_just_no_pause(self) -> None:
        """What is shorter than a pause counts."""
        almost = PAUSE - 0.015625
        self.assertEqual(measured([(almost + 0.0625, 0.0625)]), almost / 16)


class GapTests(SynchronousTestCase):
    """Nothing for too long, though there was speech."""

    def arrivals(self, *steps: tuple[float, float]) -> Jitter:
        """A packet, and those that follow it: seconds later, seconds of audio later."""
        jitter, now = Jitter(), START
        jitter.arrived(now, 0.0625)
        for later, spacing in steps:
            now += later
            jitter.arrived(now, spacing)
        return jitter

    def test_even(self) -> None:
        """Up to three frames of 60 ms without a packet are none."""
        self.assertEqual(GAP, 0.2)
        jitter = self.arrivals((0.0625, 0.0625), (0.1875, 0.0625), (0.1875, 0.1875))
        self.assertEqual((jitter.gaps, jitter.longest_gap, jitter.gap_seconds), (0, 0.0, 0.0))

    def test_late(self) -> None:
        """Packets that come late, but less than a pause in speech would be."""
        jitter = self.arrivals((0.25, 0.0625), (0.0, 0.0625), (0.5, 0.0625), (0.25, 0.0625))
        self.assertEqual((jitter.gaps, jitter.longest_gap, jitter.gap_seconds), (3, 0.5, 1.0))

    def test_pause(self) -> None:
        """A pause in speech is none."""
        self.assertEqual(self.arrivals((PAUSE + 0.0625, 0.0625)).gaps, 0)

    def test_lost(self) -> None:
        """However long it is, if what is missing would have filled it, it is no pause."""
        jitter = self.arrivals((5.0, 5.0), (2.5, 2.0))
        self.assertEqual((jitter.gaps, jitter.longest_gap, jitter.gap_seconds), (2, 5.0, 7.5))


class BeginTests(SynchronousTestCase):
    """The first packet of a stretch of speech."""

    def test_began(self) -> None:
        """It is remembered, until another stretch begins."""
        jitter = Jitter()
        self.assertIsNone(jitter.began)
        for now in (10.0, 10.5, 20.0):
            jitter.arrived(now, 0.0625)
            self.assertEqual(jitter.began, 10.0)
        jitter.restart()
        self.assertIsNone(jitter.began)
        jitter.arrived(20.5, 0.0625)
        self.assertEqual(jitter.began, 20.5)

    def test_restart(self) -> None:
        """How long it took to come is neither jitter nor a gap; what was before stays counted."""
        jitter = Jitter()
        for now in (0.0, 0.25):
            jitter.arrived(now, 0.0625)
        before = (jitter.seconds, jitter.gaps, jitter.gap_seconds)
        jitter.restart()
        jitter.arrived(0.75, 0.0625)
        self.assertEqual((jitter.seconds, jitter.gaps, jitter.gap_seconds), before)
        self.assertEqual(before[1], 1)
