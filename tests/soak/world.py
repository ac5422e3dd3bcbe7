"""What goes on around a gateway besides its devices: chat servers that are restarted, a
configuration that changes, and callers of the API.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from tests.api_support import HOST, Answer, Console, today, token
from tests.hostile.target import Gateway
from tests.soak.surroundings import Surroundings
from tests.support import PATH, ROOT, SECRET

CHANGES = 5.0  # s between two states of the configuration at most
LOOKS = ("/v1/devices?limit=50", "/v1/status", "/v1/backends", "/v1/config", "/v1/devices/nobody")


def free_port() -> int:
    """A TCP port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class ChatServer:
    """An echo server in a process of its own."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"ws://{HOST}:{self._port}{PATH}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "SERVER_SECRET": SECRET}
        command = [sys.executable, "-m", "xzgw.tools.echo_server", "--port", str(self._port)]
        self._process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)

    def stop(self, sent: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait for its end. Blocks."""
        if self._process is not None:
            self._process.send_signal(sent)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    async def come_and_go(self, around: Surroundings, uptime: float) -> None:
        """Be restarted after so many seconds at most, kindly or not; in the end it runs."""
        while await around.wait(uptime):
            sent = around.random.choice((signal.SIGTERM, signal.SIGKILL))
            await deferToThread(self.stop, sent)
            await around.pause(1.0)
            self.start()
            around.done["restarts of a server"] += 1


class Settings:
    """The configuration file."""

    def __init__(self, path: Path, servers: list[str]) -> None:
        self.path = path
        self._servers = servers
        self.write({})

    def write(self, changes: dict[str, Any]) -> None:
        """The usual ones, changed a little."""
        usual = {"production": {"chat_servers": self._servers}, "message_burst": 500}
        self.path.write_text(json.dumps({**usual, **changes}), "utf-8")

    async def change(self, around: Surroundings, gateway: Gateway) -> None:
        """Write it again and again, at times with mistakes, at times with a signal."""
        first, second = self._servers
        while not around.over:
            weighted: list[Any] = [first, {"url": second, "weight": 3}]
            changes: list[dict[str, Any]] = [
                {},
                {"production": {"chat_servers": weighted}},
                {"production": {"chat_servers": [second]}},
                {"backend_check_seconds": 1, "message_rate": 50},
                {"max_sessions": 40},
                {"udp_port": "broken"},
            ]
            self.write(around.random.choice(changes))
            if around.random.random() < 0.5:
                gateway.send(signal.SIGHUP)
            around.done["changes of the configuration"] += 1
            await around.wait(CHANGES)
        self.write({})
        gateway.send(signal.SIGHUP)


class _Reader(Protocol):
    """Somebody who reads events."""

    transport: Any

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self.bytes = 0

    def dataReceived(self, data: bytes) -> None:
        self.bytes += len(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


async def read_events(around: Surroundings, port: int) -> None:
    """Come, read for a while, and go: in order, or with a reset; or do not read at all."""
    endpoint = TCP4ClientEndpoint(around.reactor, HOST, port)
    while not around.over:
        try:
            reader = await connectProtocol(endpoint, _Reader())
        except ConnectError:
            around.done["failed: reading events"] += 1
            await around.pause(1.0)
            continue
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(today())}\r\n"
        reader.transport.write(head.encode() + b"Last-Event-ID: 0\r\n\r\n")
        if around.random.random() < 0.3:
            reader.transport.pauseProducing()
        await around.pause(5.0)
        if around.random.random() < 0.5:
            reader.transport.abortConnection()
        else:
            reader.transport.resumeProducing()
            reader.transport.loseConnection()
        await reader.gone
        around.done["readers of events"] += 1


async def ask_around(around: Surroundings, console: Console) -> None:
    """Look at everything, and have devices do something. Every call must get an answer."""
    while not around.over:
        answer = await ask(around, console, "GET", around.random.choice(LOOKS))
        listed = answer.json.get("devices") if answer is not None else None
        if isinstance(listed, list) and listed:
            client_id = around.random.choice(listed)["client_id"]
            if around.random.random() < 0.5:
                call = f"/v1/devices/{client_id}/tools/self.get_device_status?timeout=2"
                await ask(around, console, "POST", call, {})
            else:
                await ask(around, console, "DELETE", f"/v1/devices/{client_id}")
        await around.pause(1.0)


async def ask(
    around: Surroundings, console: Console, method: str, path: str, body: object = None
) -> Answer | None:
    """One call; None, and a fault is noted, if it got no answer."""
    try:
        answer = await console.ask(method, path, body)
    except (OSError, HTTPException) as error:
        now = datetime.now(UTC).time().isoformat("seconds")
        around.fault(f"{now} {method} {path}: {type(error).__name__}: {error}")
        return None
    around.done[f"API {answer.status}"] += 1
    return answer
