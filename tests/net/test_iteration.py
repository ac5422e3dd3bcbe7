"""xzgw.net.iteration: rounds of the reactor, on real sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from xzgw.net.iteration import Iteration, quicken

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


class Whole:
    """A factory of one protocol, made beforehand."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...

    def buildProtocol(self, addr: object) -> Ear:
        return self._ear


def read(end: socket.socket, size: int) -> bytes:
    """So many bytes."""
    data = b""
    while len(data) < size:
        data += end.recv(65536)
    return data


class IterationTests(TestCase):
    """Trial's own reactor does its rounds so."""

    timeout = 20

    def setUp(self) -> None:
        self.patch(reactor, "doIteration", Iteration(reactor))

    def connection(self) -> tuple[Ear, socket.socket]:
        """A connection's protocol, and the other end."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        ear = Ear()
        with ours:
            reactor.adoptStreamConnection(  # type: ignore[attr-defined]
                ours.fileno(), socket.AF_UNIX, Whole(ear)
            )
        self.addCleanup(lambda: ear.over.called or ear.transport.abortConnection())
        return ear, theirs

    async def test_reads(self) -> None:
        """What comes reaches each connection's own protocol."""
        (one, to_one), (two, to_two) = self.connection(), self.connection()
        to_one.send(b"1")
        to_two.send(b"2")
        self.assertEqual((await one.heard, await two.heard), (b"1", b"2"))

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

    async def test_writes(self) -> None:
        """What does not fit into the socket at once is written when there is room."""
        ear, theirs = self.connection()
        data = bytes(range(256)) * 8192
        ear.transport.write(data)
        received = await deferToThread(read, theirs, len(data))
        self.assertEqual(received, data)

    async def test_timers(self) -> None:
        """Time passes though nothing comes."""
        await deferLater(reactor, 0.01, lambda: None)

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


class QuickenTests(SynchronousTestCase):
    """Which reactors it is for."""

    def test_epoll(self) -> None:
        """Twisted's own of epoll, the default on Linux."""
        epoll: Any = EPollReactor()
        self.addCleanup(epoll._poller.close)
        self.assertTrue(quicken(epoll))
        self.assertIsInstance(epoll.doIteration, Iteration)

    def test_others(self) -> None:
        """Any other is left alone."""
        other = Clock()
        self.assertFalse(quicken(other))
        self.assertFalse(hasattr(other, "doIteration"))
