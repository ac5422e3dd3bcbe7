"""Connections with a PROXY header, however it arrives, and those without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.fakes import Surroundings
from tests.net.support import TcpTransport
from tests.wire.test_proxy import EXAMPLES, FAULTS, V4_ENDS, V6_ENDS
from xzgw.net.proxy import (
    HEADER_TIME,
    LOG_EVERY,
    ProxiedTransport,
    ProxyFactory,
    ProxyProtocol,
    Refusals,
)
from xzgw.tools.steps import Watch

PEER = IPv4Address("TCP", "198.51.100.1", 4321)  # the proxy
HOST = IPv4Address("TCP", "192.0.2.200", 1883)
ROOM = 1000
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1883\r\n"
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


class Noting(Protocol):
    """Notes what it is told, and whether it closes at once."""

    transport: Any

    def __init__(self, factory: Behind) -> None:
        self.log: list[object] = []
        self._behind = factory

    def connectionMade(self) -> None:
        self.log.append((self.transport.getPeer(), self.transport.getHost()))
        if self._behind.closes:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self.log.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.log.append(reason.type)


class Behind(Factory):
    """What stands behind the header; makes no protocol when it is full."""

    noisy = False
    closes = False
    full = False

    def __init__(self) -> None:
        self.built: Callable[[], None] = lambda: None
        self.made: list[Noting] = []
        self.addresses: list[IAddress | None] = []
        self.log: list[str] = []

    def startFactory(self) -> None:
        self.log.append("started")

    def stopFactory(self) -> None:
        self.log.append("stopped")

    def buildProtocol(self, addr: IAddress | None) -> Noting | None:
        self.built()
        self.addresses.append(addr)
        if self.full:
            return None
        self.made.append(Noting(self))
        return self.made[-1]


class Incoming(TcpTransport):
    """A connection; `protocol` is our end of it."""

    protocol: ProxyProtocol


class ProxyTestCase(SynchronousTestCase):
    """A factory on a clock that stands still; no timer is left at the end."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = Refusals(self.clock)
        self.behind = Behind()
        self.room = ROOM  # connections that may wait for their header yet
        self.factory = ProxyFactory(self.behind, self.clock, self.refusals, self._enter)

    def _enter(self) -> Callable[[], None] | None:
        if self.room:
            self.room -= 1
            return self._leave
        return None

    def _leave(self) -> None:
        self.room += 1

    def connect(self, peer: object = PEER) -> Incoming:
        transport = Incoming(hostAddress=HOST, peerAddress=peer)
        transport.protocol = self.factory.buildProtocol(PEER)
        transport.protocol.makeConnection(transport)
        return transport

    def lose(self, transport: Incoming) -> None:
        transport.protocol.connectionLost(Failure(ConnectionDone()))

    def assertIdle(self) -> None:
        """Nothing waits for anything."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.factory.waiting, self.room), (set(), ROOM))


class HeaderTests(ProxyTestCase):
    """From the first byte to the protocol behind."""

    def test_each(self) -> None:
        """Every header, whole or byte by byte: the protocol behind knows the real ends from the
        start and gets what follows, nothing else."""
        for data, ends in EXAMPLES:
            peer, host = PEER, HOST
            if ends is not None:
                kind: Any = IPv6Address if ":" in ends[0][0] else IPv4Address
                peer, host = kind("TCP", *ends[0]), kind("TCP", *ends[1])
            for pieces in ([data + b"x"], [bytes([byte]) for byte in data] + [b"x"]):
                transport = self.connect()
                for piece in pieces:
                    transport.protocol.dataReceived(piece)
                (behind,) = self.behind.made
                self.assertEqual(behind.log, [(peer, host), b"x"])
                self.assertEqual(self.behind.addresses, [peer])
                self.assertIdle()
                transport.protocol.dataReceived(b"more")
                self.lose(transport)
                self.assertEqual(behind.log[2:], [b"more", ConnectionDone])
                self.behind.made.clear()
                self.behind.addresses.clear()
        self.assertEqual(self.refusals.total, 0)

    def test_early_split(self) -> None:
        """A header in two pieces, cut anywhere, also before its eighth or sixteenth byte."""
        for data, ends in EXAMPLES:
            for cut in range(1, min(len(data), 60)):
                transport = self.connect()
                transport.protocol.dataReceived(data[:cut])
                transport.protocol.dataReceived(data[cut:] + b"MQTT")
                self.assertFalse(transport.disconnecting)
                peer: Any = self.behind.addresses.pop()
                self.assertEqual(self.behind.made.pop().log[1:], [b"MQTT"])
                self.assertEqual(peer.host, ends[0][0] if ends else PEER.host)

    def test_nothing_after_it(self) -> None:
        """With an address the header is enough: the protocol behind may speak first."""
        for header, ends in ((V1, V4_ENDS), (V1_IPV6, V6_ENDS)):
            self.connect().protocol.dataReceived(header)
            ours = self.behind.made.pop().transport
            peer, host = ours.getPeer(), ours.getHost()
            self.assertEqual(((peer.host, peer.port), (host.host, host.port)), ends)
            self.assertIdle()

    def test_health_check(self) -> None:
        """A proxy that speaks for itself and leaves is nobody."""
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            transport = self.connect()
            transport.protocol.dataReceived(header)
            self.lose(transport)
        self.lose(self.connect())
        self.assertEqual((self.behind.made, self.refusals.total), ([], 0))
        self.assertIdle()

    def test_full(self) -> None:
        """Where there is no protocol for it, the connection is closed."""
        self.behind.full = True
        transport = self.connect()
        transport.protocol.dataReceived(V1 + b"MQTT")
        self.assertTrue(transport.disconnecting)
        transport.protocol.dataReceived(V1 + b"MQTT")
        self.lose(transport)
        self.assertEqual(len(self.behind.addresses), 1)
        self.assertEqual(self.refusals.total, 0)
        self.assertIdle()

    def test_closed_from_behind(self) -> None:
        """Who closes at once gets no data, as without a header."""
        self.behind.closes = True
        transport = self.connect()
        transport.protocol.dataReceived(V1 + b"MQTT")
        self.lose(transport)
        (behind,) = self.behind.made
        self.assertEqual(behind.log[1:], [ConnectionDone])

    def test_factory(self) -> None:
        """The factory behind starts and stops with ours; who still waits then is cut off."""
        self.factory.doStart()
        waiting, served = self.connect(), self.connect()
        served.protocol.dataReceived(V1)
        self.factory.doStop()
        self.assertEqual(self.behind.log, ["started", "stopped"])
        self.assertEqual((waiting.aborted, served.aborted), (True, False))
        self.lose(waiting)
        self.assertIdle()


class GateTests(ProxyTestCase):
    """There is room for two connections whose header is not there yet."""

    def setUp(self) -> None:
        super().setUp()
        self.room = 2

    def test_full(self) -> None:
        """One more is cut off, without a line in the log, and leaves nothing behind."""
        first, second = self.connect(), self.connect()
        with capturedLogs() as logs:
            third = self.connect()
        self.assertEqual([each.aborted for each in (first, second, third)], [False, False, True])
        third.protocol.dataReceived(V1 + b"MQTT")
        self.lose(third)
        self.assertEqual((self.behind.made, self.room, list(logs)), ([], 0, []))
        self.assertEqual(self.refusals.total, 0)
        for transport in (first, second):
            self.lose(transport)
        self.assertEqual((self.room, self.clock.getDelayedCalls()), (2, []))

    def test_room(self) -> None:
        """A header makes room before the connection is one of those behind; so do its fault, its
        lateness, and leaving; each once."""
        rooms: list[int] = []
        self.behind.built = lambda: rooms.append(self.room)
        transport = self.connect()
        self.assertEqual(self.room, 1)
        transport.protocol.dataReceived(V1)
        transport.protocol.dataReceived(b"MQTT")
        self.lose(transport)
        self.assertEqual((rooms, self.room), ([2], 2))
        transport = self.connect()
        transport.protocol.dataReceived(b"MQTT")
        self.assertEqual(self.room, 2)
        self.lose(transport)
        late = self.connect()
        self.clock.advance(HEADER_TIME)
        self.assertEqual(self.room, 2)
        self.lose(late)
        self.lose(self.connect())
        self.assertEqual((self.room, self.clock.getDelayedCalls()), (2, []))


class RefusalTests(ProxyTestCase):
    """Connections that do not come through the proxy."""

    def refuse(self, data: bytes, peer: object = PEER) -> list[str]:
        """Send this; it ends the connection. What is logged."""
        transport = self.connect(peer)
        with capturedLogs() as logs:
            transport.protocol.dataReceived(data)
        self.assertTrue(transport.aborted)
        transport.protocol.dataReceived(V1 + b"too late")
        self.lose(transport)
        self.assertIdle()
        return [str(formatEvent(event)) for event in logs]

    def test_faults(self) -> None:
        """What is no header closes the connection and is counted; nobody behind notices."""
        for count, (data, _) in enumerate(FAULTS, 1):
            self.refuse(data)
            self.assertEqual(self.refusals.total, count)
        self.assertEqual(self.behind.addresses, [])

    def test_time(self) -> None:
        """So does a header that is not there in time, complete or with something after it."""
        for count, data in enumerate((b"", V1[:-1], LOCAL), 1):
            transport = self.connect()
            transport.protocol.dataReceived(data)
            self.clock.advance(HEADER_TIME - 0.01)
            self.assertFalse(transport.aborted)
            with capturedLogs() as logs:
                self.clock.advance(0.01)
            self.assertTrue(transport.aborted)
            self.assertEqual(self.refusals.total, count)
            self.lose(transport)
            self.assertIdle()
            if count == 1:
                (event,) = logs
                line = str(formatEvent(event))
                self.assertIn("198.51.100.1: no whole PROXY header within 5 s", line)

    def test_trickle(self) -> None:
        """Its bytes do not buy more time."""
        transport = self.connect()
        for byte in V1[:10]:
            transport.protocol.dataReceived(bytes([byte]))
            self.clock.advance(HEADER_TIME / 10)
        self.assertTrue(transport.aborted)

    def test_log(self) -> None:
        """One line a minute says the reason, the latest address and how many there were."""
        (line,) = self.refuse(b"GET / HTTP/1.1\r\n")
        self.assertIn("198.51.100.1: no PROXY header; ", line)
        self.assertTrue(line.endswith(": 1"), line)
        for _ in range(3):
            self.assertEqual(self.refuse(b"GET"), [])
        self.clock.advance(LOG_EVERY - 0.01)
        self.assertEqual(self.refuse(b"GET"), [])
        self.clock.advance(0.01)
        (line,) = self.refuse(b"PROXY \r\n", UNIXAddress(b"/run/x"))
        self.assertIn("PROXY line of an unknown form; ", line)
        self.assertTrue(line.endswith(": 5"), line)
        self.assertEqual(self.refuse(b"GET"), [])
        self.assertEqual(self.refusals.total, 7)


@implementer(ITransport, ITCPTransport, IPushProducer)
class CountingTransport(TcpTransport):
    """Says more of what a TCP connection can do."""

    def __init__(self) -> None:
        super().__init__(hostAddress=HOST, peerAddress=PEER)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in ("getTcpNoDelay", "getTcpKeepAlive", "loseWriteConnection"):
            raise AttributeError(name)
        return lambda: self.calls.append(name)


class TransportTests(ProxyTestCase):
    """What the protocol behind has for a transport."""

    def test_interfaces(self) -> None:
        """It is all that the real one is."""
        real = CountingTransport()
        proxied: Any = ProxiedTransport(real, PEER, HOST, 0.0)
        for interface in (ITransport, ITCPTransport, IPushProducer):
            verifyObject(interface, proxied)
        proxied.getTcpKeepAlive()
        self.assertEqual(real.calls, ["getTcpKeepAlive"])
        self.assertRaises(AttributeError, getattr, proxied, "negotiatedProtocol")

    def test_passed_on(self) -> None:
        """Everything but the addresses is the real one's."""
        transport = self.connect()
        transport.protocol.dataReceived(V1)
        (behind,) = self.behind.made
        ours = behind.transport
        ours.write(b"a")
        ours.writeSequence([b"b", b"c"])
        self.assertEqual(transport.value(), b"abc")
        ours.setTcpNoDelay(True)
        ours.setTcpKeepAlive(True)
        self.assertEqual((transport.no_delay, transport.keep_alive), (True, True))
        producer = object()
        ours.registerProducer(producer, True)
        self.assertIs(transport.producer, producer)
        ours.unregisterProducer()
        self.assertIsNone(transport.producer)
        ours.loseConnection()
        self.assertTrue(transport.disconnecting and ours.disconnecting)
        ours.abortConnection()
        self.assertTrue(transport.aborted)


class Whoami(Resource):
    """Tells the client's address."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return str(request.getClientAddress().host).encode()


class Client(Protocol):
    """Collects what comes."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.watch = Watch(reactor)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.watch.changed()


class SocketTests(TestCase):
    """With real sockets, and twisted.web behind the header."""

    timeout = 60

    async def test_http(self) -> None:
        """Each request on a connection knows the real address."""
        net: Any = reactor
        site = Site(Whoami())
        site.noisy = False
        limits = Surroundings().services.limits
        factory = ProxyFactory(site, net, Refusals(net), limits.proxied)
        port = net.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(net, "127.0.0.1", port.getHost().port), client)
        client.transport.write(V1 + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await client.watch.until(
            "two answers", lambda: client.received.count(b"203.0.113.7") == 2 or None, 5
        )
        client.transport.abortConnection()
        self.assertEqual(limits.unauthenticated, 0)
