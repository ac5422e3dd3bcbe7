"""A thousand devices, events by the thousand, a reader that stalls and a receiver that fails: what
else goes through `twistd -n xzgw` must not notice, and the process must not grow.
"""

from __future__ import annotations

import json
import resource
import socket
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.api_support import HOST, ApiTestCase, Console, Device, today, token
from tests.support import PATIENCE, SPEECH
from xzgw.tools.steps import Watch
from xzgw.wire import mqtt
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect

DEVICES = 1000
AT_ONCE = 50  # connections being opened
PAGE = 100  # devices
WAVE = 1000  # events, as many as the gateway remembers
WAVES = 10  # at most, until a reader that stalls must be gone
TURN = SPEECH[:16]  # what the canary says again and again
MANY_FILES = 4096
GROWTH = 8 * 1024  # KiB that a gateway may grow by in one more wave
DROPPED = "dropping a reader of events"


class Receiver(Resource):
    """Takes webhooks: those at /works, and at /fails none of them."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Json] = []
        self.failed = 0

    def render_POST(self, request: Request) -> bytes:
        body: Any = request.content
        if request.path == b"/works":
            self.taken.append(json.load(body))
            request.setResponseCode(204)
        else:
            self.failed += 1
            request.setResponseCode(500)
        return b""


class Reader(Protocol):
    """Reads the events as they come."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.gone: Deferred[None] = Deferred()
        self._rest = b""
        self._watch = Watch(reactor)

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.events += [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
        self._watch.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)

    def count(self, kind: str) -> int:
        return len([event for event in self.events if event["kind"] == kind])

    def until(self, kind: str, count: int) -> Deferred[bool]:
        """Fire once so many events of a kind were read."""
        return self._watch.until(
            f"{count} events {kind}", lambda: self.count(kind) >= count or None, 2 * PATIENCE
        )


class Stranger(Protocol):
    """Connects with a client id that is none, and is refused."""

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(mqtt.encode(Connect("不" * 200, None, None, 60, True, 4, None)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class AdminLoadTests(ApiTestCase):
    """All of it at once, with one gateway."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self._allow_files()
        self.receiver = Receiver()
        port: Any = reactor.listenTCP(0, Site(self.receiver), interface=HOST)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        url = f"http://{HOST}:{port.getHost().port}"
        settings = Path(self.mktemp())
        hooks = [
            {"url": f"{url}/fails", "secret": "s3cr3t-of-the-hook"},
            {"url": f"{url}/works", "events": ["session_start"]},
        ]
        settings.write_text(json.dumps({"webhooks": hooks}))
        self.start(XZGW_CONFIG=str(settings.resolve()))
        self.console = Console(self.port)
        self.endpoint = TCP4ClientEndpoint(reactor, HOST, self.gateway.mqtt_port)

    def _allow_files(self) -> None:
        """Room for a socket per device, here and in the gateway, which inherits it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < MANY_FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(MANY_FILES, hard), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    async def test_load(self) -> None:
        import time
        t0 = time.monotonic()
        def mark(what):
            print(f"{time.monotonic()-t0:6.2f} {what} rss={self.rss()}", flush=True)
        canary = await self.device(0)
        await canary.hello()
        self.over = False
        talking = Deferred.fromCoroutine(self.talk(canary))
        reader = await self.read_events()
        stalled = self.stall()
        self.addCleanup(stalled.close)
        mark("start")
        await self.connect_many()
        mark("connected")
        await reader.until("connect", DEVICES)
        mark("reader")
        await self.assertListed(canary)
        mark("listed")
        waves = 0
        while DROPPED not in self.gateway.log:
            waves += 1
            await self.wave()
            mark(f"wave {waves}")
        before = self.rss()
        await self.wave()
        mark("wave again")
        await self.wave()
        mark("wave again")
        await reader.until("refused", (waves+2)*WAVE)
        self.over = True
        turns = await talking
        mark(f"turns {turns} failed {self.receiver.failed} {len(self.receiver.taken)}")
        gaps=[b.at-a.at for a,b in pairwise(canary.voice.heard)]
        print(sorted(gaps)[-12:])

    def rss(self) -> int:
        """Resident memory of the gateway, KiB."""
        status = Path(f"/proc/{self.gateway._process.pid}/status").read_text("ascii")
        return int(next(line.split()[1] for line in status.splitlines() if "VmRSS" in line))

    async def talk(self, canary: Device) -> int:
        turns = 0
        voice = canary.voice
        while not self.over:
            stamps = [turns * 1000 + n for n, _ in enumerate(TURN)]
            canary.listen("start", mode="manual")
            await canary.speak(TURN, stamps)
            canary.listen("stop")
            await canary.expect("tts", 2 * PATIENCE, state="stop")
            turns += 1
            await canary.hear(turns * len(TURN), PATIENCE)
            self.assertEqual([h.opus for h in voice.heard[-len(TURN):]], TURN)
            self.assertEqual([h.timestamp for h in voice.heard[-len(TURN):]], stamps)
        return turns

    async def connect_many(self) -> None:
        for start in range(1, DEVICES + 1, AT_ONCE):
            numbers = range(start, start + AT_ONCE)
            await gatherResults([Deferred.fromCoroutine(self.device(n)) for n in numbers])

    async def wave(self) -> None:
        for _ in range(0, WAVE, AT_ONCE):
            strangers = [Stranger() for _ in range(AT_ONCE)]
            await gatherResults([connectProtocol(self.endpoint, each) for each in strangers])
            await gatherResults([each.gone for each in strangers])

    async def read_events(self) -> Reader:
        client: Any = HTTPClient(Agent(reactor))
        headers = {"Authorization": f"Bearer {token(today())}"}
        response = await client.get(f"http://{HOST}:{self.port}/v1/events", headers=headers, unbuffered=True)
        self.assertEqual(response.code, 200)
        reader = Reader()
        response.deliverBody(reader)
        def leave():
            reader.transport.loseConnection()
            return reader.gone
        self.addCleanup(leave)
        return reader

    def stall(self) -> socket.socket:
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(PATIENCE)
        reader.connect((HOST, self.port))
        reader.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(today())}\r\n\r\n".encode())
        return reader

    async def assertListed(self, canary):
        after = ""
        ids = []
        while True:
            path = f"/v1/devices?limit={PAGE}" + (f"&after={quote(after)}" if after else "")
            answer = await self.console.ask("GET", path)
            assert answer.status == 200, answer.body
            ids += [d["client_id"] for d in answer.json["devices"]]
            assert answer.json["total"] == DEVICES + 1
            after = answer.json["next"]
            if not after: break
        self.assertEqual(ids, sorted(d.client_id for d in self.devices))
