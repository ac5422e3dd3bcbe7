"""What stands on the other sides of the gateway in tests: chat servers and raw TCP peers that run
in threads, and the gateway itself as a child process. All of it blocks, with time-outs.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Condition, Event, Thread
from types import MappingProxyType
from typing import Any

from websockets.sync.server import ServerConnection, serve

ROOT = Path(__file__).resolve().parents[1]
VECTORS = json.loads((ROOT / "tests/vectors/vectors.json").read_text("utf-8"))
SPEECH = [
    bytes.fromhex(packet)
    for packet in json.loads((ROOT / "tests/vectors/speech_opus_16k_60ms.json").read_text("ascii"))
]
KEY: str = VECTORS["key"]  # what devices' passwords are signed with
SECRET = "Te1st12134"  # what tokens for chat servers are signed with
PATH = "/xiaozhi/v1/?from=mqtt_gateway"
PATIENCE = 20.0  # s that anything may take, however busy the machine


@contextmanager
def memory_taken() -> Iterator[Callable[[], int]]:
    """Tells how many bytes Python holds more than in the beginning, garbage in cycles included."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()


class ChatServer:
    """The `websockets` library as server. Connections are handed out as they come in."""

    def __init__(self, **options: Any) -> None:
        """Take what `websockets.sync.server.serve` takes."""
        self._accepted: Queue[ServerConnection] = Queue()
        self._over = Event()
        self._server = serve(self._handle, "127.0.0.1", 0, **options)
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}{PATH}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def accept(self) -> ServerConnection:
        """The next connection whose handshake is done. Raises queue.Empty."""
        return self._accepted.get(timeout=PATIENCE)

    def greet(self, session_id: str) -> ServerConnection:
        """Accept the next connection, take its hello and answer it."""
        connection = self.accept()
        hello = json.loads(connection.recv(PATIENCE))
        reply = {"type": "hello", "session_id": session_id, "audio_params": hello["audio_params"]}
        connection.send(json.dumps(reply))
        return connection

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._over.set()
        self._server.shutdown()
        self._thread.join(PATIENCE)

    def _handle(self, connection: ServerConnection) -> None:
        self._accepted.put(connection)
        self._over.wait()


class RawServer:
    """A TCP server that does to its only peer whatever a script says."""

    def __init__(self, script: Callable[[socket.socket], None], receive_buffer: int = 0) -> None:
        """
        Args:
            script: runs in a thread of its own; the connection closes when it returns.
            receive_buffer: bytes that the kernel takes for a script that does not read.
        """
        self._script = script
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}{PATH}"
        self._thread = Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Wait for the script's end, whether or not anybody ever connected."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(PATIENCE)
            self._listener.close()

    def _run(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # closed before anybody came
        with peer:
            peer.settimeout(PATIENCE)
            self._script(peer)


def read_request(peer: socket.socket) -> bytes:
    """An HTTP request's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    return head


def upgrade(request: bytes) -> bytes:
    """The 101 that a WebSocket handshake asks for."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """One WebSocket frame as servers send it: not masked."""
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return bytes((first, len(payload))) + payload
    if len(payload) < 1 << 16:
        return struct.pack(">BBH", first, 126, len(payload)) + payload
    return struct.pack(">BBQ", first, 127, len(payload)) + payload


def client_frame(message: bytes, mask: int) -> bytes:
    """One binary WebSocket frame as clients send it: masked with these 32 bits."""
    head, payload = frame(2, b"")[:1], frame(2, message)[1:]
    length = payload[: len(payload) - len(message)]
    key = mask.to_bytes(4, "big")
    masked = bytes(byte ^ key[n & 3] for n, byte in enumerate(message))
    return head + bytes((length[0] | 0x80,)) + length[1:] + key + masked


def read_to_end(peer: socket.socket) -> bytes:
    """Everything until the peer closes, in whatever way."""
    received = b""
    try:
        while chunk := peer.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def reset(peer: socket.socket) -> None:
    """Make closing the socket send a RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class GatewayProcess:
    """`twistd -n xzgw` as a child process on free ports."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        twistd: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            directory: where it runs; nobody's .env is there.
            settings: environment variables besides the usual ones; an empty one counts as unset.
            twistd, flags: further arguments for twistd and for xzgw.
            files: contents by name, which are to be in the directory.
        """
        directory.mkdir(parents=True)
        for name, text in files.items():
            (directory / name).write_text(text, "utf-8")
        self.lines: list[str] = []  # standard output and error
        self._news = Condition()
        self._silent = False  # whether its output has ended
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(sys.executable).with_name("twistd")),
                *("-n", "--pidfile=", *twistd, "xzgw", *flags),
            ],
            cwd=directory,
            env=_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def mqtt_port(self) -> int:
        """Where devices connect; waits until they can."""
        return int(self.wait_for(r"MQTT at 127\.0\.0\.1:(\d+)")[1])

    def memory(self) -> float:
        """KiB of RAM that the process has."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return float(found[1])

    def allow_descriptors(self, count: int) -> None:
        """Let it open no more than this from now on."""
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (count, count))

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal, and go on."""
        self._process.send_signal(signal_number)

    def wait_for(self, pattern: str, seconds: float = 3 * PATIENCE) -> re.Match[str]:
        """The first match in a line of the log. Fails when the process ends without one."""
        expression = re.compile(pattern)

        def found() -> re.Match[str] | None:
            return next(filter(None, map(expression.search, self.lines)), None)

        with self._news:
            self._news.wait_for(lambda: self._silent or found(), seconds)
        match = found()
        assert match is not None, f"nothing like {pattern!r} in the log:\n{self.log}"
        return match

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit status, which the process itself sees to."""
        self.send(sent)
        return self.ended()

    def ended(self) -> int:
        """Wait for the exit status."""
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        """End it if it still runs; for the end of a test that has failed."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "MQTT_SIGNATURE_KEY": KEY,
        "SERVER_SECRET": SECRET,
        "XZGW_MQTT": "tcp:0:interface=127.0.0.1",
        "XZGW_UDP": "127.0.0.1:0",
        "XZGW_API": "tcp:0:interface=127.0.0.1",
        **settings,
    }


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """An environment variable of this process, for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
