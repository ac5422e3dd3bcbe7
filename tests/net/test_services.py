"""Listening: what happens when it cannot be done, and that the end is waited for."""

from __future__ import annotations

import os
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    connectProtocol,
    serverFromString,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from xzgw.net.services import (
    ClosingService,
    DatagramService,
    SpanService,
    StreamService,
    regularly,
)

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Echo(Protocol):
    """Says hello to whoever comes."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Listener(Protocol):
    """Fires with all that it was told."""

    def __init__(self, ended: Deferred[bytes]) -> None:
        self._heard = b""
        self._ended = ended

    def dataReceived(self, data: bytes) -> None:
        self._heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._ended.callback(self._heard)


def streams(*endpoints: str, close: Deferred[None] | None = None) -> StreamService:
    ended = succeed(None) if close is None else close
    make = partial(serverFromString, reactor)
    return StreamService(make, "MQTT", Factory.forProtocol(Echo), endpoints, lambda: ended)


def port_of(service: StreamService | DatagramService, index: int = 0) -> int:
    address: Any = service.ports[index].getHost()
    return int(address.port)


async def greeted(place: tuple[str, int]) -> bytes:
    """What one who connects there is told until the end."""
    ended: Deferred[bytes] = Deferred()
    await connectProtocol(TCP4ClientEndpoint(reactor, *place), Listener(ended))
    return await ended


def queue_of(listening: socket.socket) -> int:
    """How many may wait to be accepted, of Linux's struct tcp_info."""
    found: int
    (found,) = struct.unpack(
        "=I", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)[28:]
    )
    return found


class ServicesTestCase(TestCase):
    """Ports are closed again at the end of each test."""

    timeout = 60

    def assertEnds(self, service: StreamService | DatagramService, *words: str) -> None:
        """Starting ends the process with status 1 and one critical line that has these words."""
        self.addCleanup(service.stopService)
        with capturedLogs() as log:
            error = self.assertRaises(SystemExit, service.startService)
        self.assertEqual(error.code, 1)
        lines = [formatEvent(e) for e in log if e["log_level"] is LogLevel.critical]
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(word, lines[0])


class StreamServiceTests(ServicesTestCase):
    """TCP and whatever else endpoint strings can say."""

    async def test_listens(self) -> None:
        """At each endpoint, once, and the log says where."""
        service = streams(LOOPBACK, LOOPBACK)
        with capturedLogs() as log:
            service.privilegedStartService()
            service.startService()
        self.assertEqual(len(service.ports), 2)
        for port in service.ports:
            address: Any = port.getHost()
            where = f"MQTT at 127.0.0.1:{address.port}"
            self.assertIn(where, [formatEvent(event) for event in log])
            socket.create_connection(("127.0.0.1", address.port)).close()
        await service.stopService()

    async def test_crowd(self) -> None:
        """Many may connect while the process has no time to accept any."""
        service = streams(LOOPBACK)
        service.startService()
        place = ("127.0.0.1", port_of(service))
        # One that did not fit would try again after a second.
        crowd = [socket.create_connection(place, 0.9) for _ in range(300)]
        for each in crowd:
            each.close()
        await service.stopService()

    async def test_unix(self) -> None:
        """A path is a place as well."""
        path = "mqtt.sock"  # in trial's own directory; a longer one would not fit
        service = streams(f"unix:{path}")
        with capturedLogs() as log:
            service.startService()
        self.assertIn(f"MQTT at {path}", [formatEvent(event) for event in log])
        await service.stopService()

    def test_port_in_use(self) -> None:
        """One line says what, where and why."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            self.assertEnds(
                streams(LOOPBACK, endpoint), "cannot listen for MQTT", endpoint, "in use"
            )

    def test_no_such_address(self) -> None:
        """An address that is not ours is reported the same way."""
        endpoint = "tcp:0:interface=192.0.2.200"
        self.assertEnds(streams(endpoint), endpoint, "Cannot assign requested address")

    def test_bad_endpoint(self) -> None:
        """So is an endpoint string that means nothing, or names a file that is not there, or not
        what it should be."""
        junk = Path(self.mktemp())
        junk.write_text("-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
        for endpoint in (
            "no-such-kind:1883",
            "tcp:",
            "tcp:1:colour=red",
            "ssl:0:privateKey=/nonexistent/key.pem",
            f"ssl:0:privateKey={junk}",
        ):
            self.assertEnds(streams(endpoint), endpoint)

    async def test_left_to_others(self) -> None:
        """A socket that was handed over is others' from then on, also for who waits there; those
        that were accepted before stay, and a port of our own stays open.
        """
        shared = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.addCleanup(shared.close)
        service = streams(f"fd:{os.dup(shared.fileno())}", LOOPBACK)
        service.startService()
        place, own = shared.getsockname(), ("127.0.0.1", port_of(service, 1))
        before = await greeted(place)
        with capturedLogs() as log:
            service.leave_to_others()
        said = f"MQTT at 127.0.0.1:{place[1]}: accepting no more, others may listen there"
        self.assertEqual([formatEvent(event) for event in log], [said])
        with socket.create_connection(place) as waiting:
            self.assertEqual(await greeted(own), b"hello")
            shared.settimeout(5)
            accepted, peer = shared.accept()
            accepted.close()
            self.assertEqual(peer, waiting.getsockname())
        self.assertEqual(before, b"hello")
        await service.stopService()
        service.leave_to_others()

    async def test_their_queue(self) -> None:
        """How many may wait at a shared socket is not ours to say."""
        with socket.create_server(("127.0.0.1", 0), backlog=7) as shared:
            service = streams(f"fd:{os.dup(shared.fileno())}")
            service.startService()
            self.assertEqual(queue_of(shared), 7)
            await service.stopService()

    async def test_stop_waits(self) -> None:
        """The end is there when the ports are closed and everybody is out."""
        everybody_out: Deferred[None] = Deferred()
        service = streams(LOOPBACK, close=everybody_out)
        service.startService()
        port = port_of(service)
        stopped = service.stopService()
        self.assertFalse(stopped.called)
        everybody_out.callback(None)
        await stopped
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


class DatagramServiceTests(ServicesTestCase):
    """UDP."""

    async def test_listens(self) -> None:
        """At the address given; stopping waits until the port is closed."""
        protocol = DatagramProtocol()
        service = DatagramService(reactor, "audio", protocol, "127.0.0.1", 0)
        with capturedLogs() as log:
            service.privilegedStartService()
            service.startService()
        port = port_of(service)
        self.assertIn(f"audio at 127.0.0.1:{port}", [formatEvent(event) for event in log])
        await service.stopService()
        with socket.socket(type=socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", port))

    def test_port_in_use(self) -> None:
        """One line says what, where and why."""
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            for host, where in (("127.0.0.1", f"udp 127.0.0.1:{port}"), ("", f"udp *:{port}")):
                service = DatagramService(reactor, "audio", DatagramProtocol(), host, port)
                self.assertEnds(service, "cannot listen for audio", where, "in use")

    async def test_handed_over(self) -> None:
        """At a socket that somebody else has opened, whatever address is configured."""

        def adopt(protocol: DatagramProtocol) -> Any:
            anywhere: Any = reactor
            return anywhere.listenUDP(0, protocol, interface="127.0.0.1")

        service = DatagramService(reactor, "audio", DatagramProtocol(), "192.0.2.1", 0, adopt)
        with capturedLogs() as log:
            service.startService()
        where = f"audio at 127.0.0.1:{port_of(service)}"
        self.assertIn(where, [formatEvent(event) for event in log])
        await service.stopService()

    def test_not_handed_over(self) -> None:
        """One line says why there is none, of whatever kind the error is."""
        for error in (ValueError("fd:3 is a teapot"), OSError(9, "fd:3 is a teapot")):

            def adopt(protocol: DatagramProtocol, error: Exception = error) -> NoReturn:
                raise error

            service = DatagramService(reactor, "audio", DatagramProtocol(), "", 0, adopt)
            self.assertEnds(service, "audio", "the socket that was handed over", "is a teapot")


class ClosingServiceTests(ServicesTestCase):
    """What has no port."""

    async def test_stop_waits(self) -> None:
        """The end is there when it says so."""
        closed: Deferred[None] = Deferred()
        service = ClosingService(lambda: closed)
        service.startService()
        stopped = service.stopService()
        self.assertFalse(stopped.called)
        closed.callback(None)
        await stopped
        self.assertFalse(service.running)


class RegularTests(ServicesTestCase):
    """What is done every so often."""

    def test_regularly(self) -> None:
        """At the start and then in even steps, until it is stopped."""
        clock, done = Clock(), []
        service = regularly(clock, 2.0, lambda: done.append(clock.seconds()))
        self.assertEqual(done, [])
        service.startService()
        for _ in range(4):
            clock.advance(1)
        self.assertEqual(done, [0.0, 2.0, 4.0])
        self.successResultOf(maybeDeferred(service.stopService))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_fault(self) -> None:
        """A fault of ours in one round is logged, and the next round comes all the same."""
        clock, rounds = Clock(), []

        def act() -> None:
            rounds.append(1)
            if len(rounds) == 1:
                raise RuntimeError("a fault")

        service = regularly(clock, 2.0, act)
        service.startService()
        (failure,) = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(failure.getErrorMessage(), "a fault")
        clock.advance(2)
        self.assertEqual(len(rounds), 2)
        self.successResultOf(maybeDeferred(service.stopService))


class SpanServiceTests(ServicesTestCase):
    """What runs beside the rest."""

    def test_span(self) -> None:
        """It is started and stopped once each."""
        done: list[str] = []
        service = SpanService(partial(done.append, "start"), partial(done.append, "stop"))
        service.startService()
        self.assertEqual((done, service.running), (["start"], 1))
        service.stopService()
        self.assertEqual((done, service.running), (["start", "stop"], 0))
