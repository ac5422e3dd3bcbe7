"""The score of a session's audio."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.audio_stats import Stats
from xzgw.core.jitter import Jitter
from xzgw.core.quality import Direction, Quality, downlink, rate, uplink
from xzgw.core.sayings import Saying

GOOD = Direction(packets=1000, missed=0, jitter=0.0, gap_seconds=0.0)
SILENT = Direction(packets=0, missed=0, jitter=0.0, gap_seconds=0.0)


def rated(up: Direction = GOOD, down: Direction = GOOD, answer: float | None = None) -> Quality:
    quality = rate(up, down, answer)
    assert quality is not None
    return quality


def missing(share: float) -> Direction:
    """A thousand packets sent, of which that share never came."""
    lost = round(1000 * share)
    return replace(GOOD, packets=1000 - lost, missed=lost)


directions = st.builds(
    Direction,
    packets=st.integers(0, 10**6),
    missed=st.integers(0, 10**6),
    jitter=st.floats(0, 100),
    gap_seconds=st.floats(0, 10**4),
)


class RateTests(SynchronousTestCase):
    """From what was measured to a number and a sentence."""

    def test_good(self) -> None:
        """The best that there is, with answers in time or without any question yet."""
        best = Quality(4.4, Saying("nothing disturbs it"))
        for answer in (None, 0.3, 1.5):
            self.assertEqual(rated(answer=answer), best)
        self.assertEqual(rated(down=SILENT), best)
        self.assertEqual(rated(up=SILENT), best)

    def test_no_audio(self) -> None:
        """Without audio there is no score."""
        self.assertIsNone(rate(SILENT, SILENT, None))
        self.assertIsNone(rate(SILENT, replace(SILENT, missed=7), 9.0))

    def test_loss(self) -> None:
        """The table of the documentation."""
        for share, score in ((0.01, 4.2), (0.05, 3.2), (0.1, 2.4), (0.2, 1.6), (0.5, 1.1)):
            for quality in (rated(up=missing(share)), rated(down=missing(share))):
                self.assertEqual(quality.score, score, share)
        why = rated(up=missing(0.05)).why
        self.assertEqual(why, "5.0% of the audio from the device is missing")
        self.assertEqual(why.parts, [{"id": "loss_up", "values": {"value": "5.0%"}}])

    def test_loss_of_little(self) -> None:
        """One of the first three packets lost is not a third of a session."""
        self.assertEqual(rated(up=Direction(2, 1, 0.0, 0.0), down=SILENT).score, 3.9)

    def test_jitter(self) -> None:
        """The table of the documentation."""
        for seconds, score in ((0.02, 4.4), (0.05, 4.4), (0.1, 4.2), (0.15, 3.7), (0.3, 1.7)):
            quality = rated(down=replace(GOOD, jitter=seconds))
            self.assertEqual(quality.score, score, seconds)
        why = "audio to the device comes unevenly: jitter 300 ms"
        self.assertEqual(quality.why, why)

    def test_gaps(self) -> None:
        """The table of the documentation; a thousand packets are 60 s."""
        for seconds, score in ((0.6, 4.3), (3.0, 4.0), (6.0, 3.8), (30.0, 3.2)):
            quality = rated(up=replace(GOOD, gap_seconds=seconds))
            self.assertEqual(quality.score, score, seconds)
        self.assertEqual(quality.why, "audio from the device has gaps: 33.3% of the time")

    def test_answers(self) -> None:
        """The table of the documentation."""
        for seconds, score in ((2.0, 4.3), (3.0, 4.0), (5.0, 3.0), (60.0, 2.7)):
            quality = rated(answer=seconds)
            self.assertEqual(quality.score, score, seconds)
        self.assertEqual(quality.why, "answers take 60.0 s")

    def test_worse_direction(self) -> None:
        """Of one kind of trouble the worse direction counts, of several kinds all."""
        loss = rated(up=missing(0.05))
        self.assertEqual(rated(up=missing(0.05), down=missing(0.04)), loss)
        both = rated(up=missing(0.05), answer=3.0)
        self.assertLess(both.score, loss.score)
        self.assertEqual(both.why, loss.why)  # the worst of them

    @settings(derandomize=True, deadline=None)
    @given(directions, directions, st.none() | st.floats(0, 10**6))
    def test_any(self, up: Direction, down: Direction, answer: float | None) -> None:
        """Whatever is measured, the score is from 1 to 4.4, and there is a reason below 4."""
        quality = rate(up, down, answer)
        if quality is None:
            self.assertEqual((up.packets, down.packets), (0, 0))
            return
        self.assertTrue(1.0 <= quality.score <= 4.4, quality)
        self.assertTrue(quality.score >= 4.0 or not quality.why.startswith("nothing"), quality)


class DirectionTests(SynchronousTestCase):
    """What counts of a session's counts."""

    def test_uplink(self) -> None:
        """Late packets are of no use, nor are those that the server was too slow for."""
        stats, jitter = Stats(forwarded=100, lost=3, late=2, duplicate=9), Jitter()
        jitter.seconds, jitter.gap_seconds = 0.25, 1.5
        self.assertEqual(uplink(stats, jitter, 10), Direction(90, 15, 0.25, 1.5))

    def test_downlink(self) -> None:
        """What we dropped."""
        stats = Stats(sent_packets=100, dropped_waiting=3, dropped_empty=1, forwarded=5)
        self.assertEqual(downlink(stats, Jitter()), Direction(100, 4, 0.0, 0.0))
