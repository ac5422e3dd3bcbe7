"""Endpoint strings, listened at for real."""

from __future__ import annotations

import shutil
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from tests.net.certificates import HOUR, Authority
from tests.support import PATIENCE, read_to_end
from tests.wire.test_proxy import v2
from xzgw.net.endpoints import Endpoints
from xzgw.net.proxy import ProxyFactory, Refusals
from xzgw.net.tls import ServerTls, TlsError

net: Any = reactor
LOCALHOST = r"interface=127.0.0.1"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883\r\n"


class Echo(Protocol):
    """Says who the other end is, then everything back."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(self.transport.getPeer().host.encode() + b"\n")

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)
        if data.endswith(b"!"):
            self.transport.loseConnection()


class EndpointsTestCase(TestCase):
    """Ports are closed at the end of each test, connections by their ends."""

    timeout = 20

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.file = self.authority.certificate("localhost")
        self.tls = f"privateKey={self.file}"
        self.refusals = Refusals(net)
        self.endpoints = Endpoints(
            net,
            partial(ServerTls, clock=net, now=net.seconds),
        )
        self.proxied = partial(
            ProxyFactory, clock=net, refusals=self.refusals, enter=lambda: lambda: None
        )

    async def listen(self, description: str) -> int:
        factory = Factory.forProtocol(Echo)
        factory.noisy = False
        port: Any = await self.endpoints.make(description, self.proxied).listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def secure(self, connection: socket.socket, *protocols: str) -> ssl.SSLSocket:
        """TLS over a connection, with the server verified."""
        context = ssl.create_default_context(cafile=self.authority.path)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context.wrap_socket(connection, server_hostname="localhost")

    async def exchange(
        self, port: int, before: bytes = b"", *, tls: bool, inner: bytes = b""
    ) -> str:
        """What comes back after this in the clear and this where the protocol is."""

        def run() -> str:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                if not tls:
                    connection.sendall(before + inner + b"hello!")
                    return read_to_end(connection).decode()
                connection.sendall(before)
                with self.secure(connection) as secured:
                    secured.sendall(inner + b"hello!")
                    return read_to_end(secured).decode()

        return str(await deferToThread(run))


class MakeTests(EndpointsTestCase):
    """Each kind."""

    async def test_tcp(self) -> None:
        """What is not ours is as Twisted has it."""
        port = await self.listen(f"tcp:0:{LOCALHOST}")
        self.assertEqual(await self.exchange(port, tls=False), "127.0.0.1\nhello!")

    async def test_ssl(self) -> None:
        """TLS, with a certificate that a client believes."""
        port = await self.listen(f"ssl:0:{self.tls}:{LOCALHOST}")
        self.assertEqual(await self.exchange(port, tls=True), "127.0.0.1\nhello!")

    async def test_haproxy(self) -> None:
        """A PROXY header, of either version, then the protocol."""
        port = await self.listen(f"haproxy:tcp:0:{LOCALHOST}")
        for header in (V1, v2(socket.inet_aton("203.0.113.7") + bytes(8))):
            reply = await self.exchange(port, header, tls=False)
            self.assertEqual(reply, "203.0.113.7\nhello!")
        reply = await self.exchange(port, b"MQTT", tls=False)
        self.assertEqual((reply, self.refusals.total), ("", 1))

    async def test_both(self) -> None:
        """What is first in the string is first on the wire: the header, then TLS, or inside it."""
        port = await self.listen(f"haproxy:ssl:0:{self.tls}:{LOCALHOST}")
        self.assertEqual(await self.exchange(port, V1, tls=True), "203.0.113.7\nhello!")
        port = await self.listen(rf"ssl:over=haproxy\:tcp\:0\:{LOCALHOST}:{self.tls}")
        reply = await self.exchange(port, tls=True, inner=V1)
        self.assertEqual(reply, "203.0.113.7\nhello!")

    async def test_ipv6(self) -> None:
        """With an IPv6 address to listen at."""
        port = await self.listen(rf"ssl:0:{self.tls}:interface=\:\:1")

        def run() -> bytes:
            with (
                socket.create_connection(("::1", port), PATIENCE) as connection,
                self.secure(connection) as secured,
            ):
                secured.sendall(b"!")
                return read_to_end(secured)

        self.assertEqual(await deferToThread(run), b"::1\n!")

    async def test_application_protocol(self) -> None:
        """A client that names its protocol (ALPN) is not turned away."""
        port = await self.listen(f"ssl:0:{self.tls}:{LOCALHOST}")

        def run() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", port), PATIENCE) as connection,
                self.secure(connection, "mqtt") as secured,
            ):
                secured.sendall(b"!")
                return read_to_end(secured)

        self.assertEqual(await deferToThread(run), b"127.0.0.1\n!")

    def test_bad(self) -> None:
        """Strings that mean nothing and files that cannot be used are errors at once."""
        for description in ("", "tcp", "nothing:1", "haproxy:", "haproxy:nothing:1", "ssl:1"):
            with self.assertRaises((ValueError, TypeError)):
                self.endpoints.make(description, self.proxied)
        with self.assertRaises(TlsError):
            self.endpoints.make("haproxy:ssl:1:privateKey=/nonexistent", self.proxied)


class ReloadTests(EndpointsTestCase):
    """Certificates are exchanged."""

    async def test_reload(self) -> None:
        """All of them, for new connections; a connection that is open stays as it is."""
        second = Authority(self.mktemp()).certificate("localhost")
        ports = [
            await self.listen(f"ssl:0:privateKey={path}:{LOCALHOST}")
            for path in (self.file, second)
        ]

        def connect(port: int) -> ssl.SSLSocket:
            secured = self.secure(socket.create_connection(("127.0.0.1", port), PATIENCE))
            assert secured.recv(100) == b"127.0.0.1\n"
            return secured

        old = await deferToThread(connect, ports[0])
        self.addCleanup(old.close)
        self.authority = Authority(self.mktemp())
        new = self.authority.certificate("localhost")
        for path in (self.file, second):
            shutil.copy(new, path)
        for port in ports:
            with self.assertRaises(ssl.SSLCertVerificationError):
                await self.exchange(port, tls=True)
        with capturedLogs() as logs:
            self.endpoints.reload()
        lines = [str(formatEvent(event)) for event in logs]
        for port, path in zip(ports, (self.file, second), strict=True):
            self.assertEqual(await self.exchange(port, tls=True), "127.0.0.1\nhello!")
            self.assertTrue(any(f"certificate {path} for localhost" in line for line in lines))

        def still() -> bytes:
            old.sendall(b"still here!")
            return read_to_end(old)

        self.assertEqual(await deferToThread(still), b"still here!")

    async def test_advice(self) -> None:
        """Each certificate that is wrong is told of once, however often it is listened with."""
        self.authority = Authority(self.mktemp())
        old = self.authority.certificate("localhost", valid=(-2 * HOUR, -HOUR))
        for path in (self.file, old, old):
            await self.listen(f"ssl:0:privateKey={path}:{LOCALHOST}")
        expired = f"certificate {old} has expired: clients will refuse it"
        self.assertEqual(self.endpoints.advice(), [expired])
        with capturedLogs() as logs:
            self.endpoints.look()
        self.assertEqual(list(logs), [])  # said already

    async def test_broken(self) -> None:
        """One that cannot be used does not keep the others from being exchanged."""
        second = Authority(self.mktemp()).certificate("localhost")
        await self.listen(f"ssl:0:{self.tls}:{LOCALHOST}")
        port = await self.listen(f"ssl:0:privateKey={second}:{LOCALHOST}")
        shutil.copy(self.file, second)
        Path(self.file).write_text("broken")
        self.endpoints.reload()
        self.assertEqual(await self.exchange(port, tls=True), "127.0.0.1\nhello!")
