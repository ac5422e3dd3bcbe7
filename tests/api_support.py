"""The admin API seen from outside: a gateway process, simulated devices, and a console that speaks
plain HTTP to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support import KEY, PATIENCE, SECRET, GatewayProcess
from xzgw.tools.device_mcp import DeviceMcp, Tool
from xzgw.tools.device_tools import usual_tools
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.identity import Identity
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import Watch
from xzgw.wire.messages import Json

HOST = "127.0.0.1"
HELD = "self.hold"  # a tool whose calls wait for the test to answer them
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def today() -> date:
    """UTC's."""
    return datetime.now(UTC).date()


def token(day: date) -> str:
    """The bearer token of one day."""
    return hashlib.sha256(f"{day.isoformat()}{KEY}".encode()).hexdigest()


def request(port: int, method: str, path: str, body: object, headers: Mapping[str, str]) -> Answer:
    """One request over a connection of its own; the path goes out as it is. Blocks."""
    connection = HTTPConnection(HOST, port, timeout=2 * PATIENCE)
    try:
        text = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, text, {**kind, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


class Console:
    """A management console. It knows the date in UTC, as its own clock has it, and the key."""

    def __init__(self, port: int, today: Callable[[], date] = today) -> None:
        """Take the admin API's port."""
        self.attempts: list[int] = []  # the statuses that the latest request got
        self._port = port
        self._today = today

    def ask(self, method: str, path: str, body: object = None) -> Deferred[Answer]:
        """Show today's token; while the answer is 401, yesterday's, then tomorrow's."""
        return deferToThread(self._ask, method, path, body)

    def command(self, client_id: str, method: str, params: Json) -> Deferred[Answer]:
        """One MCP request to a device."""
        payload = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        body = {"type": "mcp", "payload": payload}
        return self.ask("POST", f"/api/commands/{client_id}", body)

    def _ask(self, method: str, path: str, body: object) -> Answer:
        self.attempts = []
        day = self._today()
        for each in (day, day - DAY, day + DAY):
            headers = {"Authorization": f"Bearer {token(each)}"}
            answer = request(self._port, method, path, body, headers)
            self.attempts.append(answer.status)
            if answer.status != 401:
                break
        return answer


class WatchedMcp(DeviceMcp):
    """A device's tools. Calls can be waited for, those of HELD are left to the test to answer."""

    def __init__(self, *tools: Tool) -> None:
        """Take tools besides the usual ones."""
        super().__init__([*usual_tools(), *tools])
        self.held: list[Json] = []  # requests that nobody has answered
        self._watch = Watch(reactor)

    def answer(self, payload: object) -> Json | None:
        if isinstance(payload, dict) and payload.get("params", {}).get("name") == HELD:
            self.held.append(payload)
            reply = None
        else:
            reply = super().answer(payload)
        self._watch.changed()
        return reply

    def holding(self, count: int) -> Deferred[bool]:
        """Fire once so many calls of HELD have come."""
        return self._watch.until(
            f"{count} calls of {HELD}", lambda: len(self.held) >= count or None, PATIENCE
        )

    def called(self, count: int) -> Deferred[bool]:
        """Fire once so many calls of other tools have come."""
        return self._watch.until(
            f"{count} tool calls", lambda: len(self.calls) >= count or None, PATIENCE
        )


class Device(SimulatedDevice):
    """A simulated device with such tools."""

    mcp: WatchedMcp

    def __init__(self, number: int, *tools: Tool, key: str = KEY) -> None:
        """The number makes MAC and uuid."""
        identity = Identity(f"a0:85:e3:f4:{number >> 8:02x}:{number & 255:02x}", f"u-{number}")
        super().__init__(reactor, identity, key, mcp=WatchedMcp(*tools))

    @property
    def client_id(self) -> str:
        return self.identity.client_id

    @property
    def id(self) -> str:
        """Of the open session."""
        assert self.session is not None
        return self.session.session_id

    def told(self, kind: str) -> list[Json]:
        """All messages of one type that were pushed to it so far."""
        texts = [json.loads(payload) for payload in self.received]
        return [text for text in texts if text["type"] == kind]

    def secrets(self) -> list[str]:
        """Its password and the keys of all its sessions."""
        password = self.identity.credentials(KEY).password
        assert password is not None
        return [password.decode("ascii"), *(hello["udp"]["key"] for hello in self.told("hello"))]


class ApiTestCase(TestCase):
    """One gateway process and an echo server. Whatever a test does, the gateway stops cleanly, with
    nothing unhandled and nothing secret in its log.
    """

    timeout = 60  # s
    gateway: GatewayProcess
    console: Console

    async def setUp(self) -> None:  # type: ignore[override]
        self.devices: list[Device] = []
        self.chat = EchoServer(reactor, secret=SECRET)
        await self.chat.listen()
        self.addCleanup(self.chat.stop)

    def start(self, **settings: str) -> None:
        """Start the gateway with these environment variables."""
        settings = {"CHAT_SERVERS": self.chat.url, **settings}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)  # trial runs this before the clean-ups above

    @property
    def port(self) -> int:
        """The admin API's; waits until it is open."""
        return int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])

    async def device(self, number: int, *tools: Tool) -> Device:
        """A device that is connected."""
        device = Device(number, *tools)
        self.devices.append(device)
        self.addCleanup(device.disconnect)
        await device.connect(HOST, self.gateway.mqtt_port)
        return device

    async def _stops(self) -> None:
        self.assertEqual(await deferToThread(self.gateway.stop), 0)
        tokens = [token(today() + days * DAY) for days in (-1, 0, 1)]
        secrets = [secret for device in self.devices for secret in device.secrets()]
        log = self.gateway.log
        for text in ("Traceback", "Unhandled", "Bearer", KEY, SECRET, *tokens, *secrets):
            self.assertNotIn(text, log)
