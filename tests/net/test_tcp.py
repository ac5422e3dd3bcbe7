"""What is set on connections, seen at the real socket below whatever is on top of it."""

from __future__ import annotations

import os
import socket
import sys
import time
from itertools import product
from types import SimpleNamespace
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.net.certificates import Authority
from xzgw.net.proxy import ProxiedTransport
from xzgw.net.tcp import LOCAL, host_of, prepare, quiet_for
from xzgw.net.tls import ServerTls

DEVICE = IPv4Address("TCP", "203.0.113.7", 50000)
SERVER = IPv4Address("TCP", "192.0.2.1", 1883)


class Prepared(Protocol):
    """A connection that is prepared; `made` fires with its real socket, or fails."""

    transport: Any
    quiet: float | None = 0.0  # what quiet_for said

    def __init__(self) -> None:
        self.heard: Deferred[None] = Deferred()
        self.made: Deferred[socket.socket] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        def real_socket(_: None) -> socket.socket:
            return socket.socket(fileno=os.dup(self.transport.fileno()))

        Deferred.fromCoroutine(self._prepare()).addCallback(real_socket).chainDeferred(self.made)

    async def _prepare(self) -> None:
        prepare(self.transport)
        self.quiet = quiet_for(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


class Proxied(Prepared):
    """A PROXY header has told its addresses."""

    def makeConnection(self, transport: Any) -> None:
        super().makeConnection(ProxiedTransport(transport, DEVICE, SERVER, 0.0))


class PrepareTests(TestCase):
    """Each test goes through all that can be on top of a socket."""

    timeout = 20
    options: ClassVar[dict[int, int]] = {
        socket.TCP_NODELAY: 1,
        socket.TCP_KEEPIDLE: 30,
        socket.TCP_KEEPINTVL: 10,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 60_000,
    }

    def setUp(self) -> None:
        clock: Any = reactor
        key = Authority(self.mktemp()).certificate("localhost")
        self.tls = ServerTls(key, key, None, clock=clock, now=lambda: 0.0)

    async def prepared(self, place: str, kind: type[Prepared], tls: bool) -> socket.socket:
        """The gateway's end of a new connection, closed by the peer since."""
        self.protocol = protocol = kind()
        factory: Any = Factory.forProtocol(lambda: protocol)
        factory.noisy = False
        endpoint = serverFromString(reactor, place)
        port: Any = await endpoint.listen(self.tls.wrap(factory) if tls else factory)
        where = port.getHost()
        if isinstance(where, UNIXAddress):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(where.name or b"")
        else:
            peer = socket.create_connection((where.host, where.port), 5)
        with peer:
            found = await protocol.made
            self.addCleanup(found.close)
        await protocol.lost
        await port.stopListening()
        return found

    async def test_tcp(self) -> None:
        """Nothing waits to be sent, and a peer that has vanished is found within a minute: asked
        from 30 s of silence on, or given up when what was sent to it waits for so long."""
        places = "tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1"
        for place, kind, tls in product(places, (Prepared, Proxied), (False, True)):
            handle = await self.prepared(place, kind, tls)
            self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            found = {o: handle.getsockopt(socket.IPPROTO_TCP, o) for o in self.options}
            self.assertEqual(found, self.options, (place, kind, tls))
            self.assertEqual(self.protocol.quiet is None, kind is Proxied, (place, kind, tls))

    async def test_unix(self) -> None:
        """A UNIX socket is left as it is, even if a PROXY header has told an IP address."""
        for kind, tls in product((Prepared, Proxied), (False, True)):
            handle = await self.prepared("unix:tcp.sock", kind, tls)
            self.assertEqual(handle.family, socket.AF_UNIX)
            self.assertIsNone(self.protocol.quiet)

    async def test_quiet(self) -> None:
        """Silence is counted from what the other end's TCP last acknowledged, in seconds."""
        protocol = Prepared()
        factory: Any = Factory.forProtocol(lambda: protocol)
        port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
        with socket.create_connection(("127.0.0.1", port.getHost().port), 5) as peer:
            (await protocol.made).close()
            began = time.monotonic()
            while (quiet := quiet_for(protocol.transport) or 0.0) < 0.2:
                await deferLater(reactor, 0.01)
            self.assertGreater(time.monotonic() - began, 0.1)
            peer.send(b"x")
            await protocol.heard
            self.assertLess(quiet_for(protocol.transport) or 0.0, quiet)
        await protocol.lost
        await port.stopListening()


class OtherSystemTests(SynchronousTestCase):
    """Not Linux."""

    def test_quiet(self) -> None:
        """Nobody knows how long the other end has been silent."""
        self.patch(sys, "platform", "darwin")
        with socket.socket() as end:
            transport: Any = SimpleNamespace(getHandle=lambda: end)
            self.assertIsNone(quiet_for(transport))


class HostTests(SynchronousTestCase):
    """The host part of addresses."""

    def test_host(self) -> None:
        """IPv4 comes in its own form however it was carried; a UNIX socket has a name of ours."""
        self.assertEqual(host_of(DEVICE), "203.0.113.7")
        self.assertEqual(host_of(IPv6Address("TCP", "::ffff:203.0.113.7", 1)), "203.0.113.7")
        self.assertEqual(host_of(IPv6Address("TCP", "2001:db8::7", 1)), "2001:db8::7")
        self.assertEqual(host_of(UNIXAddress("mqtt.sock")), LOCAL)
        self.assertEqual(host_of(None), LOCAL)
