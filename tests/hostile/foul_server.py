"""A chat server under an attacker's hand: it does to its connections whatever the case wants.

Tests that attack from that side are `ServerTestCase`s: the hellos of all devices but the canary
lead to one `FoulServer`. A case gives it a script with `playing`, which runs for each connection,
in a thread of its own.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

from tests.hostile.attack import devices
from tests.hostile.harness import HostileTestCase, Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATH, PATIENCE, frame, reset, upgrade

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
RECEIVE_BUFFER = 16 * 1024  # bytes that the kernel takes for scripts that do not read
LONGEST = 3 * PATIENCE  # s that a script may take, and that it waits for the gateway


class Peer:
    """A connection from the gateway. Whatever waits raises OSError or EOFError at its end."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        """Take the number of this connection, from 0 for the first one of its script."""
        self.number = number
        self.session = f"foul-{number}"
        self.socket = connection
        self.socket.settimeout(LONGEST)

    def request(self) -> bytes:
        """The head of the gateway's request."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._take(1)
        return head

    def upgrade(self) -> None:
        """See the handshake through as it should be."""
        self.socket.sendall(upgrade(self.request()))

    def greet(self) -> None:
        """The whole of an honest beginning."""
        self.upgrade()
        self.hear()
        self.say(self.hello())

    def hello(self, **members: object) -> dict[str, Any]:
        """An honest answer to a hello, but for these members."""
        params = HELLO["audio_params"]
        return {"type": "hello", "session_id": self.session, "audio_params": params, **members}

    def say(self, *messages: dict[str, Any]) -> None:
        """Send texts."""
        self.send(*(frame(TEXT, json.dumps(each).encode()) for each in messages))

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def hear(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; all of a client's are masked."""
        first, size = self._take(2)
        size &= 0x7F
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        mask, payload = self._take(4), self._take(size)
        return first & 0x0F, bytes(b ^ mask[n & 3] for n, b in enumerate(payload))

    def until_closed(self) -> None:
        """Read on until the gateway says close, or closes. Raises TimeoutError if it does not."""
        with suppress(EOFError, ConnectionError):
            while self.hear()[0] != CLOSE:
                pass

    def until_cut(self) -> None:
        """Read whatever comes until the gateway closes. Raises TimeoutError if it does not."""
        with suppress(ConnectionError):
            while self.socket.recv(65536):
                pass

    def until_reset(self) -> None:
        """Wait for the gateway to cut it off, reading nothing."""
        ends = select.poll()
        ends.register(self.socket, select.POLLHUP)
        assert ends.poll(1000 * LONGEST), "the gateway does not cut it off"

    def cut(self) -> None:
        """End it with a RST."""
        reset(self.socket)
        self.socket.close()

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            got = self.socket.recv(size - len(data))
            if not got:
                raise EOFError
            data += got
        return bytes(data)


Script = Callable[[Peer], None]


class FoulServer:
    """See the module's text."""

    def __init__(self) -> None:
        self.port = 0
        self._script: Script = Peer.greet
        self._peers: list[Peer] = []
        self._threads: list[Thread] = []
        self._faults: list[str] = []
        self.open_door()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{PATH}"

    @property
    def reached(self) -> int:
        """How many connections there were since it plays this script."""
        return len(self._peers)

    def open_door(self) -> None:
        """Listen, at the same port as before."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Before there are connections: a window that shrinks would swallow the gateway's RST.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(200)
        self.port = self._listener.getsockname()[1]
        self._door = Thread(target=self._accept, name="foul server")
        self._door.start()

    def close_door(self) -> None:
        """Let nobody in any more; connections stay."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._door.join(PATIENCE)
        self._listener.close()

    def close(self) -> None:
        """Leave nothing."""
        if self._listener.fileno() >= 0:
            self.close_door()
        self.cut_all()
        for thread in self._threads:
            thread.join(PATIENCE)

    def cut_all(self) -> None:
        """End all connections, as a crash of the machine would."""
        for peer in self._peers:
            with suppress(OSError):  # closed already
                peer.socket.shutdown(socket.SHUT_RDWR)

    def plays(self, script: Script) -> None:
        """From now on this."""
        self._script = script
        self._peers, self._threads = [], []

    def settle(self) -> None:
        """Wait for all scripts to end. Raises AssertionError with what went wrong in them."""
        for thread in self._threads:
            thread.join(LONGEST)
        assert not any(thread.is_alive() for thread in self._threads), "a script has no end"
        faults, self._faults = self._faults, []
        assert not faults, faults

    def _accept(self) -> None:
        with suppress(OSError):  # the door is closed
            while True:
                connection, _ = self._listener.accept()
                peer = Peer(connection, len(self._peers))
                self._peers.append(peer)
                self._threads.append(Thread(target=self._run, args=(self._script, peer)))
                self._threads[-1].start()

    def _run(self, script: Script, peer: Peer) -> None:
        with peer.socket:
            try:
                script(peer)
            except (EOFError, ConnectionError):
                pass  # the gateway has closed, which most scripts are to lead to
            except Exception as error:  # of any kind: it is told to the test
                self._faults.append(f"{peer.number}: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Stage(Target):
    """What is attacked, and from where."""

    server: FoulServer


class ServerTestCase(HostileTestCase):
    """All devices but the canary get a chat server that means them ill."""

    def start(self, servers: Sequence[str] = (), settings: dict[str, str] | None = None) -> Stage:
        server = FoulServer()
        self.addCleanup(server.close)
        # The sessions show what the server does; checks would come in between.
        quiet = {"XZGW_BACKEND_CHECK_SECONDS": "0", **(settings or {})}
        target = HostileTestCase.start(self, servers or [server.url], quiet)
        return Stage(target.gateway, target.canary, server)


def server_of(target: Target) -> FoulServer:
    """The one that a case has the command of."""
    assert isinstance(target, Stage)
    return target.server


@contextmanager
def playing(target: Target, script: Script, count: int) -> Iterator[list[RawDevice]]:
    """So many devices that have said hello to a server with this script; all leave in the end."""
    server = server_of(target)
    server.plays(script)
    with devices(target, range(count)) as crowd:
        for device in crowd:
            device.socket.settimeout(LONGEST)
            device.say(HELLO)
        yield crowd
    server.settle()
