"""CONNECT that comes when the gateway is drained, or about to stop."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import Bench, Tcp, TcpTransport, credentials, fired
from xzgw.core.drain import LOOK_EVERY
from xzgw.core.limits import DRAINING
from xzgw.net.device import LAST_CONNECT_TIME
from xzgw.net.proxy import HEADER_TIME, ProxiedTransport, ProxyFactory, Refusals
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connack, Pingreq, Pingresp

SERVER_UNAVAILABLE = 3
PEER = IPv4Address("TCP", "203.0.113.7", 50000)
HOST = IPv4Address("TCP", "192.0.2.1", 1883)


class Proxied(Tcp):
    """One whose PROXY header has just come."""

    def __init__(self, bench: Bench, accepted_at: float) -> None:
        super().__init__(bench, PEER.host)
        self.lose()
        self.transport = TcpTransport(HOST, PEER)
        self.protocol = bench.factory.buildProtocol(PEER)
        proxied: Any = ProxiedTransport(self.transport, PEER, HOST, accepted_at)
        self.protocol.makeConnection(proxied)


class DoorTestCase(SynchronousTestCase):
    """At the end nothing is counted and nothing is waited for any more."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.clock = self.bench.clock
        self.limits = self.bench.gateway.services.limits
        self._open: list[Tcp] = []

    def tearDown(self) -> None:
        self.bench.gateway.stop("the end of the test")
        for tcp in self._open:
            tcp.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        limits = self.limits
        counts = (limits.devices, limits.unauthenticated, limits.expected)
        self.assertEqual(counts, (0, 0, 0))

    def connection(self) -> Tcp:
        self._open.append(self.bench.connection())
        return self._open[-1]

    def lose(self, tcp: Tcp) -> None:
        self._open.remove(tcp)
        tcp.lose()

    def assertAnswered(self, tcp: Tcp, return_code: int) -> None:
        """It shows good credentials and is told this; closed unless let in."""
        tcp.send(credentials())
        self.assertEqual(tcp.replies(), [Connack(return_code)])
        self.assertEqual(tcp.closing, return_code != 0)


class DrainTests(DoorTestCase):
    """Of connections and drains, what came first counts."""

    def test_before(self) -> None:
        """Let in, served, and let go at the next look."""
        tcp = self.connection()
        self.clock.advance(5)
        self.bench.gateway.drain()
        self.clock.advance(2.5)
        self.assertAnswered(tcp, 0)
        tcp.send(Pingreq())
        self.assertEqual(tcp.replies(), [Pingresp()])
        self.clock.advance(LOOK_EVERY)
        self.assertTrue(tcp.closing)

    def test_after(self) -> None:
        """Refused."""
        self.bench.gateway.drain()
        self.assertAnswered(self.connection(), SERVER_UNAVAILABLE)
        self.clock.advance(1)
        self.assertAnswered(self.connection(), SERVER_UNAVAILABLE)

    def test_silent(self) -> None:
        """One that says nothing holds the end up until its time for CONNECT is over."""
        tcp = self.connection()
        with capturedLogs() as log:
            self.bench.gateway.drain()
            self.clock.pump([LOOK_EVERY] * 9)
            self.assertEqual(self.limits.expected, 1)
            self.clock.advance(LOOK_EVERY)
            self.assertTrue(tcp.closing)
            self.assertNotIn("drained: nobody is left", [formatEvent(e) for e in log])
            self.lose(tcp)
            self.clock.advance(LOOK_EVERY)
        self.assertIn("drained: nobody is left", [formatEvent(e) for e in log])

    def test_header_came_late(self) -> None:
        """Behind a proxy it counts when the connection was accepted, not when its header came."""
        self.clock.advance(1)
        self.bench.gateway.drain()
        self.clock.advance(1)
        for accepted_at, return_code in ((0.9, 0), (1.1, SERVER_UNAVAILABLE)):
            tcp = Proxied(self.bench, accepted_at)
            self._open.append(tcp)
            self.assertAnswered(tcp, return_code)


class HeaderTests(DoorTestCase):
    """Connections that wait for their PROXY header when a drain begins."""

    def setUp(self) -> None:
        super().setUp()
        refusals = Refusals(self.clock)
        self.proxied = ProxyFactory(self.bench.factory, self.clock, refusals, self.limits.proxied)
        self.over: list[float] = []
        self.bench.gateway.watch_drain(over=lambda: self.over.append(self.clock.seconds()))

    def knock(self) -> Tcp:
        """One more, through the proxy."""
        self.lose(tcp := self.connection())
        tcp.transport = TcpTransport(HOST, PEER)
        tcp.protocol = self.proxied.buildProtocol(PEER)
        tcp.protocol.makeConnection(tcp.transport)
        self._open.append(tcp)
        return tcp

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([LOOK_EVERY] * int(seconds / LOOK_EVERY))

    def test_let_in(self) -> None:
        """Somebody is left as long as one waits; it is let in, and let go."""
        tcp = self.knock()
        self.clock.advance(0.5)
        self.bench.gateway.drain()
        self.pass_time(HEADER_TIME - 1)
        self.assertEqual((self.limits.expected, self.over), (1, []))
        tcp.send_bytes(b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883\r\n")
        self.assertEqual((self.limits.expected, self.over), (1, []))
        self.assertAnswered(tcp, 0)
        self.pass_time(LOOK_EVERY)
        self.assertTrue(tcp.closing)
        self.lose(tcp)
        self.pass_time(2 * LOOK_EVERY)
        self.assertEqual(len(self.over), 1)

    def test_no_header(self) -> None:
        """One that ends without a header is nobody any more, nor is one that comes later."""
        closed, silent = self.knock(), self.knock()
        self.clock.advance(0.5)
        self.bench.gateway.drain()
        self.assertEqual(self.limits.expected, 2)
        self.lose(closed)
        self.assertEqual(self.limits.expected, 1)
        self.pass_time(1)
        late = self.knock()
        self.pass_time(HEADER_TIME - 1)
        self.assertTrue(silent.aborted)
        self.assertFalse(late.aborted)
        self.pass_time(LOOK_EVERY)
        self.assertEqual((self.limits.expected, len(self.over)), (0, 1))


class StopTests(DoorTestCase):
    """The end of the process does not wait for long."""

    def test_on_its_way(self) -> None:
        """A CONNECT that comes soon is told that there is no service, and not just cut off."""
        device, tcp = self.connection(), self.connection()
        self.assertAnswered(device, 0)
        self.bench.gateway.stop("stopping")
        closed = self.bench.factory.close_all("stopping")
        self.assertEqual((device.closing, tcp.closing), (True, False))
        self.clock.advance(LAST_CONNECT_TIME / 2)
        self.assertAnswered(tcp, SERVER_UNAVAILABLE)
        self.lose(device)
        self.assertFalse(fired(closed))
        self.lose(tcp)
        self.assertTrue(fired(closed))

    def test_half(self) -> None:
        """It may come in pieces."""
        tcp = self.connection()
        packet = encode(credentials())
        tcp.send_bytes(packet[:9])
        self.bench.gateway.stop("stopping")
        self.bench.factory.close_all("stopping")
        tcp.send_bytes(packet[9:])
        self.assertEqual(tcp.replies(), [Connack(SERVER_UNAVAILABLE)])

    def test_silent(self) -> None:
        """Without one the connection is closed after a second."""
        self.assertLessEqual(LAST_CONNECT_TIME, 1)
        tcp = self.connection()
        self.bench.gateway.stop("stopping")
        closed = self.bench.factory.close_all("stopping")
        self.clock.advance(LAST_CONNECT_TIME)
        self.assertTrue(tcp.closing)
        self.lose(tcp)
        self.assertTrue(fired(closed))

    def test_drained_before(self) -> None:
        """Who would have been let in while the gateway was drained is not any more."""
        tcp = self.connection()
        self.clock.advance(1)
        self.bench.gateway.drain()
        self.assertEqual(self.bench.gateway.troubles()[0], DRAINING)
        self.bench.gateway.stop("stopping")
        self.bench.factory.close_all("stopping")
        self.assertAnswered(tcp, SERVER_UNAVAILABLE)
