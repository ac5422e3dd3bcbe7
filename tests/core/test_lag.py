"""How late the event loop is."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.lag import BOUNDS, LOOK_EVERY, Lag


class LagTests(SynchronousTestCase):
    """The reactor's timers, and a second clock to judge them by."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 0.0
        self.lag = Lag(self.clock, lambda: self.now)
        self.lag.start()

    def look(self, late: float) -> None:
        """The timer's time has come, by the other clock so much later than it should."""
        self.now += LOOK_EVERY + late
        self.clock.advance(LOOK_EVERY)

    def seen(self) -> dict[float, int]:
        """How many looks were late by up to so many seconds, and longer than any bound."""
        counts = zip((*BOUNDS, float("inf")), self.lag.seen.counts, strict=True)
        return {bound: count for bound, count in counts if count}

    def test_late(self) -> None:
        """Each look counts by itself: one that is late makes none after it late."""
        for late in (0.0, 0.003, 0.3, 0.0, 60.0):
            self.look(late)
        self.assertEqual(self.seen(), {0.002: 2, 0.005: 1, 0.5: 1, float("inf"): 1})
        self.assertAlmostEqual(self.lag.seen.sum, 60.303)

    def test_early(self) -> None:
        """A timer that the setting of the reactor's clock has made early was not late."""
        self.look(-0.4)
        self.assertEqual((self.seen(), self.lag.seen.sum), ({0.002: 1}, 0.0))

    def test_stop(self) -> None:
        """No timer stays; to stop twice, or before the start, is no fault."""
        self.lag.stop()
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.look(1.0)
        self.assertEqual(self.lag.seen.total, 0)

    def tearDown(self) -> None:
        self.lag.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
