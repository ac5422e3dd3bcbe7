"""A thousand devices, events by the thousand, a reader that stalls and a receiver that fails: what
else goes through `twistd -n xzgw` must not notice, and the process must not grow.
"""

from __future__ import annotations

import json
import resource
import socket
from collections import Counter
from collections.abc import Iterator
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
from tests.support import PATIENCE, SPEECH, read_to_end
from xzgw.tools.steps import Watch
from xzgw.wire import mqtt
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect

DEVICES = 1000
AT_ONCE = 50  # connections being opened or closed
PAGE = 100  # devices
WAVE = 1000  # events, as many as the gateway remembers and as wait for a webhook
MOST_WAVES = 10  # by then a reader that takes nothing must be gone
TURN = SPEECH[:16]  # what the canary says again and again
LONGEST_GAP = 2.4  # s between its 60 ms packets; devices buffer as much, and cores may be few
MANY_FILES = 4096
ROUNDS = 4  # in which all devices go and come back
WARM = 2  # of them, in which memory is still being laid out
GROWTH = 20 * 1024  # KiB in the others; devices that were never let go would be 24 MiB
HOOK_SECRET = "Wh-5e3a1f"


class Receiver(Resource):
    """Takes webhooks: those at /works, and at /fails none of them."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Json] = []
        self.failed = 0
        self._watch = Watch(reactor)

    def render_POST(self, request: Request) -> bytes:
        body: Any = request.content
        if request.path == b"/works":
            self.taken.append(json.load(body))
        else:
            self.failed += 1
            request.setResponseCode(500)
        self._watch.changed()
        return b""

    def until(self, taken: int, failed: int) -> Deferred[bool]:
        """Fire once so many were taken and so many tries have failed."""
        return self._watch.until(
            f"{taken} webhooks taken, {failed} failed",
            lambda: (len(self.taken) >= taken and self.failed >= failed) or None,
            2 * PATIENCE,
        )


class Reader(Protocol):
    """Reads the events as they come."""

    def __init__(self) -> None:
        self.numbers: list[int] = []  # of the events, in the order in which they came
        self._kinds: Counter[str] = Counter()
        self._rest = b""
        self._watch = Watch(reactor)
        self._gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                self.numbers.append(int(event["id"].rpartition("-")[2]))
                self._kinds[event["kind"]] += 1
        self._watch.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone.callback(None)

    def until(self, kind: str, count: int) -> Deferred[bool]:
        """Fire once so many events of a kind were read."""
        return self._watch.until(
            f"{count} events {kind}", lambda: self._kinds[kind] >= count or None, 2 * PATIENCE
        )

    def leave(self) -> Deferred[None]:
        """Fires when the connection is gone."""
        assert self.transport is not None
        self.transport.loseConnection()
        return self._gone


class Stranger(Protocol):
    """Connects with a client id that is none, and is refused."""

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(mqtt.encode(Connect("不" * 200, None, None, 60, True, 4, None)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class Canary:
    """Says the same again and again to a server that says it back, until told to stop."""

    def __init__(self, device: Device) -> None:
        """Take a device that has said hello."""
        assert device.voice is not None
        self.voice = device.voice
        self.turns = 0
        self._device = device
        self._over = False
        self._talking = Deferred.fromCoroutine(self._talk())

    def stop(self) -> Deferred[None]:
        """Fires when the turn is done; fails if there was one that was not answered whole."""
        self._over = True
        return self._talking

    async def _talk(self) -> None:
        while not self._over:
            self._device.listen("start", mode="manual")
            await self._device.ping()  # so that no datagram overtakes it
            await self._device.speak(TURN, [self.turns] * len(TURN))
            self._device.listen("stop")
            await self._device.expect("tts", 2 * PATIENCE, state="stop")
            self.turns += 1
            await self._device.hear(self.turns * len(TURN), PATIENCE)


class AdminLoadTests(ApiTestCase):
    """All of it at once, with one gateway."""

    timeout = 120  # s; a tenth of it on a machine with nothing else to do

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self._allow_files()
        self.receiver = Receiver()
        listening: Any = reactor
        port = listening.listenTCP(0, Site(self.receiver), interface=HOST)
        self.addCleanup(port.stopListening)
        url = f"http://{HOST}:{port.getHost().port}"
        hooks = [
            {"url": f"{url}/fails", "secret": HOOK_SECRET},
            {"url": f"{url}/works", "secret": HOOK_SECRET, "events": ["session_start"]},
        ]
        settings = Path(self.mktemp()).resolve()
        settings.write_text(json.dumps({"webhooks": hooks}))
        # The waves have more connections a second than the usual limit lets in.
        self.start(XZGW_CONFIG=str(settings), XZGW_MAX_CONNECTS_PER_SECOND="100000")
        self.console = Console(self.port)
        self.strangers = 0  # so far

    def _allow_files(self) -> None:
        """Room for a socket per device, here and in the gateway, which inherits it."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < MANY_FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(MANY_FILES, hard), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    async def test_load(self) -> None:
        """See the module's text."""
        device = await self.device(0)
        await device.hello()
        canary = Canary(device)
        reader = await self.read_events()
        stalled = self.stall()
        many = [Device(number) for number in range(1, DEVICES + 1)]
        self.devices += many
        self.addCleanup(self.disconnect, many)
        await self.connect(many)
        await reader.until("connect", DEVICES)
        await self.assertListed([*many, device])
        waves = await self.waves_until_dropped()
        await deferToThread(read_to_end, stalled)  # it is cut off, not left waiting for ever
        await self.rounds([*many, device], reader)
        await canary.stop()
        self.assertUndisturbed(canary)
        await device.hello()
        await self.receiver.until(taken=2, failed=2)
        self.assertHooks(device)
        await reader.until("refused", (waves + ROUNDS) * WAVE)
        self.assertWhole(reader)

    async def rounds(self, devices: list[Device], reader: Reader) -> None:
        """All but the last device go and come back, again and again; nothing grows."""
        *many, _ = devices
        sizes, files = [], []
        for again in range(1, ROUNDS + 1):
            await gatherResults([self.wave(), self.assertListed(devices)])
            await self.disconnect(many)
            await reader.until("disconnect", again * DEVICES)
            await self.connect(many)
            sizes.append(self.size())
            files.append(self.files())
        self.assertLess(sizes[-1] - sizes[WARM - 1], GROWTH, sizes)
        self.assertLess(files[-1] - files[0], AT_ONCE, files)

    async def connect(self, devices: list[Device]) -> None:
        port = self.gateway.mqtt_port
        for some in _groups(devices):
            await gatherResults([each.connect(HOST, port) for each in some])

    async def disconnect(self, devices: list[Device]) -> None:
        for some in _groups(devices):
            await gatherResults([each.disconnect() for each in some])

    def wave(self) -> Deferred[None]:
        """So many events."""
        return Deferred.fromCoroutine(self._wave())

    async def _wave(self) -> None:
        for _ in range(0, WAVE, AT_ONCE):
            strangers = [Stranger() for _ in range(AT_ONCE)]
            await gatherResults([self.approach(each) for each in strangers])
            await gatherResults([each.gone for each in strangers])

    def approach(self, stranger: Stranger) -> Deferred[Stranger]:
        """Each from an address of its own: of one address only ten a minute are told."""
        ip = f"127.1.{self.strangers // 250}.{self.strangers % 250 + 1}"
        self.strangers += 1
        port = self.gateway.mqtt_port
        endpoint = TCP4ClientEndpoint(reactor, HOST, port, bindAddress=(ip, 0))
        connected: Deferred[Stranger] = connectProtocol(endpoint, stranger)
        return connected

    async def waves_until_dropped(self) -> int:
        """How many it took until the reader that stalls was dropped."""
        for waves in range(1, MOST_WAVES + 1):
            await self.wave()
            if "dropping a reader of events" in self.gateway.log:
                return waves
        raise self.failureException("the reader that stalls was not dropped")

    async def read_events(self) -> Reader:
        client: Any = HTTPClient(Agent(reactor))
        response = await client.get(
            f"http://{HOST}:{self.port}/v1/events",
            headers={"Authorization": f"Bearer {token(today())}"},
            unbuffered=True,
        )
        self.assertEqual(response.code, 200)
        reader = Reader()
        response.deliverBody(reader)
        self.addCleanup(reader.leave)
        return reader

    def stall(self) -> socket.socket:
        """A reader of events that never reads."""
        stalled = socket.socket()
        self.addCleanup(stalled.close)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.settimeout(PATIENCE)
        stalled.connect((HOST, self.port))
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(today())}"
        stalled.sendall(f"{head}\r\n\r\n".encode())
        return stalled

    def size(self) -> int:
        """Resident memory of the gateway, KiB."""
        status = self._proc("status").read_text("ascii")
        return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])

    def files(self) -> int:
        """How many the gateway has open."""
        return len(list(self._proc("fd").iterdir()))

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.gateway._process.pid}/{name}")

    def assertListed(self, devices: list[Device]) -> Deferred[None]:
        """All pages together have each device once, in order."""
        return Deferred.fromCoroutine(self._listed(devices))

    async def _listed(self, devices: list[Device]) -> None:
        ids: list[str] = []
        after = ""
        while not ids or after:
            start = f"&after={quote(after, safe='')}" if after else ""
            answer = await self.console.ask("GET", f"/v1/devices?limit={PAGE}{start}")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.json["total"], len(devices))
            self.assertEqual(len(answer.json["devices"]), min(PAGE, len(devices) - len(ids)))
            ids += [each["client_id"] for each in answer.json["devices"]]
            after = answer.json["next"]
        self.assertEqual(ids, sorted(each.client_id for each in devices))

    def assertUndisturbed(self, canary: Canary) -> None:
        """Each turn came back whole, in order, without a hole in it."""
        heard = [(each.timestamp, each.opus) for each in canary.voice.heard]
        self.assertGreater(canary.turns, 1)
        self.assertEqual(heard, [(turn, opus) for turn in range(canary.turns) for opus in TURN])
        self.assertEqual((canary.voice.lost, sum(canary.voice.dropped.values())), (0, 0))
        for one, following in pairwise(canary.voice.heard):
            if one.timestamp == following.timestamp:
                self.assertLess(following.at - one.at, LONGEST_GAP)

    def assertHooks(self, device: Device) -> None:
        """What the one hook wants gets there, although the other fails, which is logged once."""
        told = [(each["kind"], each["client_id"]) for each in self.receiver.taken]
        self.assertEqual(told, [("session_start", device.client_id)] * 2)
        log = self.gateway.log
        for once in ("status 500", "events are being dropped"):
            self.assertEqual(log.count(once), 1, once)
        self.assertNotIn(HOOK_SECRET, log)

    def assertWhole(self, reader: Reader) -> None:
        """The reader that keeps up has missed nothing."""
        first, last = reader.numbers[0], reader.numbers[-1]
        self.assertEqual(reader.numbers, list(range(first, last + 1)))


def _groups(devices: list[Device]) -> Iterator[list[Device]]:
    return (devices[start : start + AT_ONCE] for start in range(0, len(devices), AT_ONCE))
