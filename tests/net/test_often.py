"""xzgw.net.often: transports that are read apart from the reactor's others, on real sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from xzgw.net import often
from xzgw.net.often import OftenRead, often_read

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once


class Ear(Protocol):
    """Notes what it hears; `heard` and `over` fire once."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.heard: Deferred[bytes] = Deferred()
        self.over: Deferred[object] = Deferred()
        self.fault: Exception | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.fault is not None:
            raise self.fault
        heard, self.heard = self.heard, Deferred()
        heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.over.callback(reason.value)


class OftenTests(TestCase):
    """Each connection is adopted by Twisted's reactor first, and by ours then."""

    timeout = 20

    def setUp(self) -> None:
        self.take = often_read(reactor)

    def connection(self) -> tuple[Ear, socket.socket]:
        """An adopted transport's protocol, and the other end."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        ear = Ear()
        with ours:
            reactor.adoptStreamConnection(  # type: ignore[attr-defined]
                ours.fileno(), socket.AF_UNIX, Whole(ear)
            )
        self.take(ear.transport)
        self.addCleanup(lambda: ear.over.called or ear.transport.abortConnection())
        return ear, theirs

    async def test_reads(self) -> None:
        """What comes reaches each connection's own protocol."""
        (one, to_one), (two, to_two) = self.connection(), self.connection()
        to_one.send(b"1")
        to_two.send(b"2")
        self.assertEqual((await one.heard, await two.heard), (b"1", b"2"))

    async def test_apart(self) -> None:
        """The reactor itself does not look at the sockets, and has nothing to do at the end."""
        ear, theirs = self.connection()
        self.assertNotIn(ear.transport, reactor.getReaders())
        during = set(reactor.getReaders())
        theirs.close()
        await ear.over
        gone = during - set(reactor.getReaders())
        self.assertIn(OftenRead, map(type, gone))

    async def test_pause(self) -> None:
        """A paused transport is not read until it is resumed, twice either changes nothing."""
        (ear, theirs), (other, to_other) = self.connection(), self.connection()
        for _ in range(2):
            ear.transport.pauseProducing()
        theirs.send(b"later")
        to_other.send(b"now")
        await other.heard
        to_other.send(b"and again")
        await other.heard
        self.assertEqual(ear.data, b"")
        for _ in range(2):
            ear.transport.resumeProducing()
        self.assertEqual(await ear.heard, b"later")

    async def test_closed(self) -> None:
        """The other end's close is a clean end."""
        ear, theirs = self.connection()
        theirs.close()
        self.assertIsInstance(await ear.over, ConnectionDone)

    async def test_closed_by_us(self) -> None:
        """Ours is one, too."""
        ear, _ = self.connection()
        ear.transport.loseConnection()
        self.assertIsInstance(await ear.over, ConnectionDone)

    async def test_fault(self) -> None:
        """A fault of a protocol ends its connection, is logged, and nobody else notices."""
        (ear, theirs), (other, to_other) = self.connection(), self.connection()
        ear.fault = ZeroDivisionError("of ours")
        theirs.send(b"x")
        self.assertIsInstance(await ear.over, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        to_other.send(b"y")
        self.assertEqual(await other.heard, b"y")

    async def test_reset(self) -> None:
        """A reset connection is lost."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        ours.setblocking(False)
        ear = Ear()
        with ours:
            reactor.adoptStreamConnection(  # type: ignore[attr-defined]
                ours.fileno(), socket.AF_INET, Whole(ear)
            )
        self.take(ear.transport)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        theirs.close()
        self.assertIsInstance(await ear.over, ConnectionLost)

    async def test_stopped_in_the_same_round(self) -> None:
        """A connection that another one's data closes is not read any more."""
        (one, to_one), (two, to_two) = self.connection(), self.connection()
        one.heard.addCallback(lambda _: two.transport.abortConnection())
        two.heard.addCallback(lambda _: one.transport.abortConnection())
        to_one.send(b"1")
        to_two.send(b"2")
        await (one.over if one.data == b"" and two.data else two.over)
        self.assertEqual(len(one.data + two.data), 1)


class Whole:
    """A factory of one protocol, made beforehand."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...

    def buildProtocol(self, addr: object) -> Ear:
        return self._ear


class WithoutEpollTests(SynchronousTestCase):
    """A system that has no epoll."""

    def test_left_alone(self) -> None:
        """Transports stay with the reactor."""
        self.patch(often, "select", object())
        transport = object()
        often_read(Clock())(transport)  # type: ignore[arg-type]

    def test_logs(self) -> None:
        """The reactor has a name for the descriptor, and may give it up."""
        import select

        with select.epoll() as poll:
            group = OftenRead(Clock(), poll)  # type: ignore[arg-type]
            self.assertEqual((group.fileno(), group.logPrefix()), (poll.fileno(), "-"))
            group.connectionLost(Failure(ConnectionDone()))
