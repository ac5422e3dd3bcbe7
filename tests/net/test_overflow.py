"""Connections that there is no room for, told so in the test's own words."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import TcpTransport
from xzgw.net.overflow import HEARING_TIME, MOST_HEARD, Overflow

PLACES = 2


def answer(received: bytes) -> bytes | None:
    """Says no to a line."""
    return b"no" if received.endswith(b"\n") else None


class HeardTests(SynchronousTestCase):
    """Two places, on a clock that stands still."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.use(linger=False)

    def use(self, *, linger: bool) -> None:
        self.overflow = Overflow(self.clock, answer, PLACES, linger=linger)

    def connect(self) -> tuple[Any, TcpTransport]:
        protocol, transport = self.overflow.protocol(), TcpTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def lose(self, protocol: Any) -> None:
        protocol.connectionLost(Failure(ConnectionDone()))

    def tearDown(self) -> None:
        for protocol in tuple(self.overflow.heard):
            self.lose(protocol)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answered(self) -> None:
        """In its own time, once, then closed; what else comes is not listened to."""
        protocol, transport = self.connect()
        protocol.dataReceived(b"let me")
        self.assertEqual((transport.value(), transport.disconnecting), (b"", False))
        protocol.dataReceived(b" in\n")
        self.assertEqual((transport.value(), transport.disconnecting), (b"no", True))
        protocol.dataReceived(b"please\n")
        self.assertEqual((transport.value(), transport.aborted), (b"no", False))

    def test_lingers(self) -> None:
        """Or left to the other end to be closed, which has no longer than others."""
        self.use(linger=True)
        protocol, transport = self.connect()
        protocol.dataReceived(b"let me in\n")
        protocol.dataReceived(b" " * 10 * MOST_HEARD)
        self.assertEqual((transport.value(), transport.disconnecting), (b"no", False))
        self.clock.advance(HEARING_TIME)
        self.assertTrue(transport.aborted)

    def test_too_long(self) -> None:
        """No more is kept than a little."""
        protocol, transport = self.connect()
        protocol.dataReceived(b" " * MOST_HEARD)
        self.assertFalse(transport.aborted)
        protocol.dataReceived(b"\n")
        self.assertEqual((transport.value(), transport.aborted), (b"", True))

    def test_too_slow(self) -> None:
        """Neither silence nor trickling buys more time, and no more does a refusal to read."""
        (_, silent), (protocol, trickling) = self.connect(), self.connect()
        for _ in range(8):
            self.assertFalse(silent.aborted or trickling.aborted)
            protocol.dataReceived(b" ")
            self.clock.advance(HEARING_TIME / 8)
        self.assertTrue(silent.aborted and trickling.aborted)
        for protocol in tuple(self.overflow.heard):
            self.lose(protocol)
        protocol, deaf = self.connect()
        protocol.dataReceived(b"\n")
        self.clock.advance(HEARING_TIME)
        self.assertTrue(deaf.aborted)

    def test_places(self) -> None:
        """A place is taken until its connection is gone; without one it is cut off, deaf."""
        first, _ = self.connect()
        second, transport = self.connect()
        second.dataReceived(b"\n")
        self.assertTrue(transport.disconnecting)
        for _ in range(3):
            protocol, transport = self.connect()
            self.assertTrue(transport.aborted)
            protocol.dataReceived(b"\n")
            self.assertEqual(transport.value(), b"")
            self.lose(protocol)
        self.lose(first)
        self.assertFalse(self.connect()[1].aborted)
        self.assertEqual(len(self.overflow.heard), PLACES)

    def test_close(self) -> None:
        """In the end all of them are cut off."""
        transports = [self.connect()[1] for _ in range(PLACES)]
        self.overflow.close()
        self.assertTrue(all(transport.aborted for transport in transports))
