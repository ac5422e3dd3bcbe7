"""Packets in their own time."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.pacing import paced


class PacedTests(SynchronousTestCase):
    """When `paced` sends what."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[int, int]] = []  # milliseconds, item

    def send(self, item: int) -> None:
        self.sent.append((round(1000 * self.clock.seconds()), item))

    def test_burst(self) -> None:
        """The first five at once, then one each 60 ms; it fires after the last."""
        done = paced(self.clock, range(7), self.send, burst=5)
        self.clock.pump([0.03] * 3)
        self.assertNoResult(done)
        self.clock.pump([0.03])
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(self.sent, [(0, n) for n in range(5)] + [(60, 5), (120, 6)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_recording(self) -> None:
        """With burst 0 a packet is sent when its 60 ms have passed."""
        done = paced(self.clock, range(2), self.send, burst=0)
        self.clock.pump([0.06] * 2)
        self.successResultOf(done)
        self.assertEqual(self.sent, [(60, 0), (120, 1)])

    def test_late_timer(self) -> None:
        """What is late is sent at once and delays nothing after it."""
        done = paced(self.clock, range(4), self.send)
        self.clock.pump([0.15, 0.03])
        self.successResultOf(done)
        self.assertEqual(self.sent, [(0, 0), (150, 1), (150, 2), (180, 3)])

    def test_cancel(self) -> None:
        """Cancelled, it sends nothing more and leaves no timer."""
        done = paced(self.clock, range(4), self.send)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([(0, 0)], []))
