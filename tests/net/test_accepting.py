"""What the log has of connections that cannot be accepted."""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.fakes import warnings
from xzgw.net.accepting import TELL_EVERY, Sparing, hush

NONE_LEFT = "cannot accept connections: no file descriptors are left;"


class SparingTests(SynchronousTestCase):
    """Twisted's events, and what becomes of them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.patch(tcp.Port, "_logger", tcp.Port._logger)
        hush(self.clock)
        self.port: Logger = tcp.Port._logger

    def close(self, count: int) -> None:
        """As Twisted does when descriptors have run out."""
        self.port.info("EMFILE encountered; releasing reserved file descriptor.")
        for number in range(count):
            address = ("192.0.2.1", number)
            self.port.info("EMFILE recovery: Closed socket from {address}", address=address)
        self.port.info("Re-reserving EMFILE recovery file descriptor.")

    def test_flood(self) -> None:
        """One line at once, then one per interval with the number since."""
        with capturedLogs() as log:
            self.close(300)
            self.clock.advance(TELL_EVERY - 0.1)
            self.close(1)
            self.clock.advance(0.1)
            self.close(2)
        counted = [f"{NONE_LEFT} {n} cut off since the last such line" for n in (1, 301)]
        self.assertEqual(warnings(log), counted)
        self.assertEqual(len(log), 2)

    def test_other_errors(self) -> None:
        """What else the system says is told as it is."""
        with capturedLogs() as log:
            for _ in range(5):
                self.port.info("Could not accept ({acceptError})", acceptError="ENOBUFS")
        line = "cannot accept connections: ENOBUFS; 0 cut off since the last such line"
        self.assertEqual(warnings(log), [line])

    def test_observer(self) -> None:
        """It is an observer, and Twisted's ports have a logger where it is put."""
        self.assertTrue(verifyObject(ILogObserver, Sparing(self.clock)))
        self.assertIsInstance(tcp.Port._logger, Logger)
        self.assertEqual(tcp.Port._logger.namespace, "twisted.internet.tcp.Port")
