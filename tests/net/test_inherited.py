"""Real sockets, opened here and handed over by number; as systemd does it, to another process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.handed_over import WRAPPER
from tests.support import ROOT
from xzgw.net.inherited import HandoverError, adopter

# Says which of the sockets it was passed it takes for the given source.
CHILD = """
import sys
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from xzgw.net.inherited import HandoverError, adopter
try:
    print(adopter(reactor, sys.argv[1])(DatagramProtocol()).getHost())
except HandoverError as error:
    print(error)
"""


class Greeter(Protocol):
    """Says where it believes to be."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(f"{transport.getHost().host} {transport.getPeer().host}".encode())
        transport.loseConnection()


class Catcher(DatagramProtocol):
    """Fires with the first datagram and its sender."""

    def __init__(self) -> None:
        self.caught: Deferred[tuple[bytes, Any]] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.caught.callback((datagram, addr))


def stream(family: int, host: str) -> socket.socket:
    listening = socket.socket(family)
    listening.bind((host, 0))
    listening.listen()
    return listening


def datagram(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.bind((host, 0))
    return bound


class DescriptorTests(TestCase):
    """`fd:N`, for streams and for UDP."""

    timeout = 60

    def hand_over(self, known: socket.socket) -> int:
        """A descriptor of its own, which whoever adopts it closes; ours is closed at the end."""
        self.addCleanup(known.close)
        return os.dup(known.fileno())

    async def test_stream(self) -> None:
        """Of either family, and the addresses of connections are right."""
        for family, ours, theirs, expected in (
            (socket.AF_INET, "127.0.0.1", "127.0.0.1", b"127.0.0.1 127.0.0.1"),
            (socket.AF_INET6, "::1", "::1", b"::1 ::1"),
            (socket.AF_INET6, "::", "127.0.0.1", b"::ffff:127.0.0.1 ::ffff:127.0.0.1"),
        ):
            known = stream(family, ours)
            fileno = self.hand_over(known)
            endpoint = serverFromString(reactor, f"fd:{fileno}")
            port = await endpoint.listen(Factory.forProtocol(Greeter))
            self.assertRaises(OSError, os.fstat, fileno)
            with socket.create_connection((theirs, known.getsockname()[1]), 5) as client:
                received = await self.read(client)
            self.assertEqual(received, expected)
            await port.stopListening()

    async def read(self, client: socket.socket) -> bytes:
        """Everything until the end, without stopping the reactor."""
        ended: Deferred[bytes] = Deferred()

        class Reader(Protocol):
            received = b""

            def dataReceived(self, data: bytes) -> None:
                self.received += data

            def connectionLost(self, reason: object = None) -> None:
                ended.callback(self.received)

        client.setblocking(False)
        reactor.adoptStreamConnection(  # type: ignore[attr-defined]
            client.fileno(), client.family, Factory.forProtocol(Reader)
        )
        return await ended

    async def test_stop_leaves_others(self) -> None:
        """When one process stops listening, others that have the socket do not."""
        known = stream(socket.AF_INET, "127.0.0.1")
        endpoint = serverFromString(reactor, f"fd:{self.hand_over(known)}")
        port = await endpoint.listen(Factory.forProtocol(Greeter))
        await port.stopListening()
        with socket.create_connection(known.getsockname(), 5):
            known.settimeout(5)
            known.accept()[0].close()

    async def test_datagram(self) -> None:
        """Of either family; when it is given up, others that have the socket can go on."""
        for family, ours, theirs, seen in (
            (socket.AF_INET, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
            (socket.AF_INET6, "::", "127.0.0.1", "::ffff:127.0.0.1"),
        ):
            known = datagram(family, ours)
            fileno = self.hand_over(known)
            adopt = adopter(reactor, f"fd:{fileno}")
            assert adopt is not None
            catcher = Catcher()
            port: Any = adopt(catcher)
            self.assertRaises(OSError, os.fstat, fileno)
            self.assertEqual(port.getHost().port, known.getsockname()[1])
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.bind(("127.0.0.1", 0))
                client.sendto(b"first", (theirs, known.getsockname()[1]))
                expected = (b"first", (seen, client.getsockname()[1]))
                self.assertEqual(await catcher.caught, expected)
                await port.stopListening()
                client.sendto(b"second", (theirs, known.getsockname()[1]))
            known.settimeout(5)
            self.assertEqual(known.recv(100), b"second")

    def test_none(self) -> None:
        """Nothing is adopted when nothing was asked for."""
        self.assertIsNone(adopter(reactor, ""))

    def test_not_fit(self) -> None:
        """A line says what is wrong, and the descriptor stays open."""
        listening = stream(socket.AF_INET, "127.0.0.1")
        connected, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        unbound, deaf = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        pipe = os.pipe()
        for known in (listening, connected, other, unbound, deaf):
            self.addCleanup(known.close)
        for end in pipe:
            self.addCleanup(os.close, end)
        udp = "is not a UDP socket with an address"
        for fileno, fault in (
            (listening.fileno(), udp),
            (connected.fileno(), udp),
            (unbound.fileno(), udp),
            (pipe[0], "Socket operation on non-socket"),
        ):
            adopt = adopter(reactor, f"fd:{fileno}")
            assert adopt is not None
            error = self.assertRaises(HandoverError, adopt, DatagramProtocol())
            self.assertRegex(str(error), rf"^file descriptor {fileno}:? {re.escape(fault)}$")
            os.fstat(fileno)
        for fileno in (deaf.fileno(), unbound.fileno()):
            error = self.assertRaises(HandoverError, serverFromString, reactor, f"fd:{fileno}")
            self.assertEqual(
                str(error), f"file descriptor {fileno} is not a listening stream socket"
            )
            os.fstat(fileno)

    def test_not_open(self) -> None:
        """A number that nothing is behind."""
        adopt = adopter(reactor, "fd:99999")
        assert adopt is not None
        error = self.assertRaises(HandoverError, adopt, DatagramProtocol())
        self.assertEqual(str(error), "file descriptor 99999: Bad file descriptor")

    def test_bad_strings(self) -> None:
        """Anything but one number."""
        for text in ("fd:x", "fd:-1", "fd:3:4", "fd:3:backlog=5", "fd:²", "fd:"):
            self.assertRaises(HandoverError, serverFromString, reactor, text)


class SystemdTests(SynchronousTestCase):
    """`systemd` and `systemd:NAME`, in a process that gets sockets as systemd would pass them."""

    def setUp(self) -> None:
        self.mqtt = stream(socket.AF_INET, "127.0.0.1")
        self.audio = datagram()
        self.other = datagram()
        for known in (self.mqtt, self.audio, self.other):
            self.addCleanup(known.close)

    def found(self, source: str, names: str, *passed: socket.socket) -> str:
        """What a process with these sockets says about the source."""
        command = [sys.executable, "-c", WRAPPER, sys.executable, "-c", CHILD, source]
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PASSED": " ".join(str(known.fileno()) for known in passed),
            "LISTEN_FDNAMES": names,
        }
        descriptors = [known.fileno() for known in passed]
        done = subprocess.run(
            command,
            check=False,
            env=environ,
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    def assertFinds(self, known: socket.socket, said: str) -> None:
        self.assertIn(f"port={known.getsockname()[1]})", said)

    def test_only_one(self) -> None:
        """Of several sockets the one for UDP, wherever it stands."""
        for passed in ((self.mqtt, self.audio), (self.audio, self.mqtt)):
            self.assertFinds(self.audio, self.found("systemd", "xzgw:xzgw", *passed))

    def test_name(self) -> None:
        """By its name among several."""
        passed = self.mqtt, self.audio, self.other
        self.assertFinds(self.other, self.found("systemd:b", "m:a:b", *passed))
        self.assertFinds(self.audio, self.found("systemd:a", "m:a:b", *passed))

    def test_faults(self) -> None:
        """None, more than one, another kind, no such name: a line says so."""
        for source, names, passed, fault in (
            ("systemd", "", (), "0 sockets were passed, 0 of them for UDP, want exactly one"),
            ("systemd", "m", (self.mqtt,), "1 sockets were passed, 0 of them for UDP"),
            ("systemd", "a:b", (self.audio, self.other), "2 sockets were passed, 2 of them"),
            ("systemd:m", "m:a", (self.mqtt, self.audio), "is not a UDP socket with an address"),
            ("systemd:c", "m:a", (self.mqtt, self.audio), "no socket with the name c was passed"),
        ):
            self.assertIn(fault, self.found(source, names, *passed))
