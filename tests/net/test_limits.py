"""Limits on real MQTT bytes."""

from __future__ import annotations

import socket

from twisted.internet.address import UNIXAddress
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import CLIENT_ID, TOLD, Bench, Tcp, TcpTransport, credentials
from xzgw.net.device import CONNECT_TIME, DeviceProtocol
from xzgw.settings.limits import LimitsConfig
from xzgw.wire.packets import Connack, Pingreq, Pingresp, Publish

SERVER_UNAVAILABLE = 3


class LimitedTestCase(SynchronousTestCase):
    """A gateway with limits; at the end nothing is counted any more."""

    def use(self, **limits: int) -> None:
        self.bench = Bench(limits=LimitsConfig(**limits))
        self.limits = self.bench.gateway.services.limits
        self._open: list[Tcp] = []

    def tearDown(self) -> None:
        for tcp in self._open:
            tcp.lose()
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
        counts = (self.limits.devices, self.limits.unauthenticated, self.limits.sessions)
        self.assertEqual(counts, (0, 0, 0))

    def connection(self, peer: str = "198.51.100.7") -> Tcp:
        self._open.append(self.bench.connection(peer))
        return self._open[-1]

    def lose(self, tcp: Tcp) -> None:
        self._open.remove(tcp)
        tcp.lose()


class StrangerTests(LimitedTestCase):
    """Connections before their CONNECT."""

    def assertToldWhy(self, tcp: Tcp) -> None:
        """There is no room for it: its CONNECT, good or not, is answered CONNACK 3."""
        self.assertFalse(tcp.aborted)
        tcp.send(credentials())
        self.assertEqual(tcp.packets(), [Connack(SERVER_UNAVAILABLE)])
        self.assertTrue(tcp.closing)

    def test_too_many(self) -> None:
        """One more is told so; CONNECT, or leaving, makes room."""
        self.use(max_unauthenticated=2)
        first, second = self.connection(), self.connection()
        self.assertToldWhy(self.connection())
        self.assertEqual(self.bench.gateway.devices, {})
        first.send(credentials())
        self.assertEqual((self.limits.devices, self.limits.unauthenticated), (1, 1))
        self.connection()
        self.lose(second)
        self.connection()
        self.assertEqual(self.limits.unauthenticated, 2)
        self.assertEqual(self.limits.refused, {"max_unauthenticated": 1})

    def test_refused_counts(self) -> None:
        """A connection whose password was wrong counts until it is gone."""
        self.use(max_unauthenticated=1)
        tcp = self.connection()
        tcp.send(Connack(0))
        self.assertTrue(tcp.closing)
        self.assertToldWhy(self.connection())
        self.lose(tcp)
        self.connection().send(credentials())
        self.assertEqual(list(self.bench.gateway.devices), [CLIENT_ID])

    def test_too_fast(self) -> None:
        """Above the pace connections are told so; those there are served on."""
        self.use(max_connects_per_second=2)
        device = self.connection()
        device.send(credentials())
        self.connection()
        self.assertToldWhy(self.connection())
        device.packets()
        device.send(Pingreq())
        self.assertEqual(device.packets(), [Pingresp()])
        self.bench.clock.advance(0.5)
        self.connection().send(credentials(1))
        self.assertEqual(len(self.bench.gateway.devices), 2)

    def test_per_address(self) -> None:
        """An IPv6 /64 is one address."""
        self.use(max_connections_per_address=1)
        self.connection("2001:db8:1:2::7").send(credentials())
        self.connection("2001:db8:1:2:ffff::8")
        self.assertToldWhy(self.connection("2001:db8:1:2::7"))
        self.connection("2001:db8:1:3::7").send(credentials(1))
        addresses = [each.peer.ip for each in self.bench.gateway.devices.values()]
        self.assertEqual(addresses, ["2001:db8:1:2::7", "2001:db8:1:3::7"])

    def test_far_too_many(self) -> None:
        """Only so many are told at a time, further ones are cut off and not read; those that are
        gone make room."""
        self.use(max_unauthenticated=1)
        self.connection()
        told = [self.connection() for _ in range(TOLD)]
        tcp = self.connection()
        self.assertTrue(tcp.aborted)
        tcp.send(credentials())
        self.assertEqual((tcp.packets(), self.bench.gateway.devices), ([], {}))
        self.lose(told[0])
        self.assertToldWhy(self.connection())
        self.assertEqual(self.limits.refused, {"max_unauthenticated": TOLD + 2})

    def test_quiet(self) -> None:
        """One line tells of many."""
        self.use(max_unauthenticated=1)
        self.connection()
        with capturedLogs() as log:
            for _ in range(20):
                tcp = self.connection()
                tcp.send(credentials())
                self.lose(tcp)
            for _ in range(20):
                self.connection()
        told = [event for event in log if event["log_level"] is not LogLevel.debug]
        self.assertEqual(len(told), 1, [formatEvent(event) for event in told])


class DeviceTests(LimitedTestCase):
    """CONNECT with good credentials, at a limit."""

    def test_unavailable(self) -> None:
        """CONNACK 3, then closed; who is here is served on; one line tells of many."""
        self.use(max_connections=1)
        device = self.connection()
        device.send(credentials())
        with capturedLogs() as log:
            for _ in range(20):
                tcp = self.connection()
                tcp.send(credentials(1))
                self.assertEqual(tcp.packets(), [Connack(SERVER_UNAVAILABLE)])
                self.assertTrue(tcp.closing)
                self.lose(tcp)
        told = [event for event in log if event["log_level"] is not LogLevel.debug]
        self.assertEqual(len(told), 1, [formatEvent(event) for event in told])
        self.assertEqual(self.limits.refused, {"max_connections": 20})
        self.assertEqual(list(self.bench.gateway.devices), [CLIENT_ID])

    def test_takes_over(self) -> None:
        """A device whose old connection is counted yet comes back in."""
        self.use(max_connections=1)
        old, new = self.connection(), self.connection()
        for tcp in (old, new):
            tcp.send(credentials())
        self.assertEqual(new.packets()[0], Connack(0))
        self.assertTrue(old.closing)
        self.assertEqual(self.limits.devices, 1)

    def test_draining(self) -> None:
        """CONNACK 3 for the new; the old are let go after what was sent to them."""
        self.use()
        device = self.connection()
        device.send(credentials())
        device.packets()
        self.bench.gateway.drain()
        self.assertTrue(device.closing)
        self.assertFalse(device.aborted)
        tcp = self.connection()
        tcp.send(credentials(1))
        self.assertEqual(tcp.packets(), [Connack(SERVER_UNAVAILABLE)])


class UnixTransport(TcpTransport):
    """A UNIX socket: it knows no TCP, and its peer has no address."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        raise OSError(95, "Operation not supported")

    setTcpKeepAlive = setTcpNoDelay

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(None)

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(b"/run/xzgw/mqtt.sock")


class UnixTests(LimitedTestCase):
    """A device at a UNIX socket."""

    def setUp(self) -> None:
        self.use()
        self.transport = UnixTransport()
        self.transport.handle.family = socket.AF_UNIX
        self.protocol: DeviceProtocol = self.bench.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.tcp = Tcp.__new__(Tcp)
        self.tcp.transport, self.tcp.protocol = self.transport, self.protocol

    def test_let_in(self) -> None:
        """It is called local, at both ends."""
        self.tcp.send(credentials())
        (device,) = self.bench.gateway.devices.values()
        self.assertEqual((device.peer.ip, device.peer.local_ip), ("local", "local"))
        self.tcp.send(Publish("device-server", b'{"type":"hello","version":3}'))
        self.assertEqual(self.bench.dials[0].headers["x-forwarded-for"], "local")
        self.tcp.lose()

    def test_silent(self) -> None:
        """So it is in the log."""
        self.bench.clock.advance(CONNECT_TIME)
        with capturedLogs() as log:
            self.tcp.lose()
        self.assertIn("no device: local: no CONNECT in time", map(formatEvent, log))
