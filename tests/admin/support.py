"""The admin API without sockets, and a client that checks each answer against openapi.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource

from tests.admin import spec
from tests.admin.fakes import CLIENT_ID, MemoryDoor, device
from tests.fakes import CONFIG
from xzgw.admin.app import AdminApp
from xzgw.admin.auth import Tokens
from xzgw.admin.clients import Network
from xzgw.admin.event_stream import EventStream
from xzgw.admin.site import AdminSite, busy
from xzgw.core.door import Door
from xzgw.core.events import Events
from xzgw.core.lag import BOUNDS
from xzgw.core.limits import Limits
from xzgw.core.sayings import say
from xzgw.core.totals import Histogram
from xzgw.net.overflow import Overflow
from xzgw.settings.limits import LimitsConfig
from xzgw.wire.messages import Json

KEY = "Te1st12134"
NOW = 1_769_860_800.0  # 2026-01-31T12:00:00Z
# echo -n '2026-01-31Te1st12134' | sha256sum
TOKEN = "a631c959ba13c6732ed8ad1d273af36ed0eaacf0ee441137e9b1c367ef7efc4f"
# As xzgw.reload reports it.
REPORT: Json = {
    "read_at": NOW,
    "source": None,
    "config": {"debug": False, "signature_key": "***"},
    "needs_restart": [],
    "not_taken": None,
    "warnings": ["xzgw.json: a placeholder is left out"],
    "warning_parts": [say("placeholder", where="xzgw.json").parts],
}
PATH = "/v1/devices/" + quote(CLIENT_ID)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def new_app(
    door: Door,
    stream: EventStream,
    clock: IReactorTime,
    wrong: Callable[[str], float] = lambda address: 0.0,
    ready: Callable[[], Sequence[str]] = lambda: (),
    trusted: Callable[[], Collection[Network]] = lambda: (),
    configuration: Callable[[], Json] = lambda: REPORT,
    metrics_token: Callable[[], str | None] = lambda: TOKEN,
) -> AdminApp:
    """The API at the time NOW, in a zone that is UTC; the event loop was late once."""
    lag = Histogram(BOUNDS)
    lag.observe(0.003)
    tokens = Tokens(lambda: KEY, lambda: NOW, time.gmtime)
    return AdminApp(
        door,
        stream,
        tokens=tokens,
        wrong=wrong,
        trusted=trusted,
        ready=ready,
        configuration=configuration,
        metrics_token=metrics_token,
        lag=lambda: lag,
        clock=clock,
    )


def new_site(resource: IResource, clock: IReactorTime, **limits: int) -> AdminSite:
    """The server around it, with these limits. It tells one connection at a time of the limit."""
    counts = Limits(clock.seconds, replace(CONFIG, limits=LimitsConfig(**limits)))
    return AdminSite(resource, clock, counts, Overflow(clock, busy, 1, linger=True).protocol)


class AdminTestCase(SynchronousTestCase):
    """One device is connected, CLIENT_ID."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.device = device()
        self.door = MemoryDoor(self.device)
        self.events = Events(lambda: NOW, "run")
        self.stream = EventStream(self.events, self.clock)
        self.wrong: list[str] = []  # addresses of wrong tokens
        self.delay = 0.0  # s by which wrong tokens are told late
        self.reasons: list[str] = []  # for not being ready
        self.proxies: list[Network] = []  # that are trusted
        self.report = REPORT
        self.metrics_token: str | None = TOKEN
        app = new_app(
            self.door,
            self.stream,
            self.clock,
            self._note_wrong,
            lambda: self.reasons,
            lambda: self.proxies,
            lambda: self.report,
            lambda: self.metrics_token,
        )
        self.client: Any = StubTreq(app)

    def tearDown(self) -> None:
        self.stream.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def _note_wrong(self, address: str) -> float:
        self.wrong.append(address)
        return self.delay

    def begin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = TOKEN,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Deferred[Answer]:
        """Send a request: bytes as they are, anything else as JSON."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return Deferred.fromCoroutine(
            self._request(method, path, data=data, headers={**sent, **(headers or {})})
        )

    async def _request(self, method: str, path: str, **options: Any) -> Answer:
        response = await self.client.request(method, "http://gateway" + path, **options)
        body = await self.client.content(response)
        headers = {
            name.decode().lower(): b", ".join(values).decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        documented = spec.operation(method, path)
        if documented is not None:
            spec.check(documented, response.code, headers, body)
        return Answer(response.code, headers, body)

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """Send a request that is answered at once. Options are those of `begin`."""
        pending = self.begin(method, path, body, **options)
        self.client.flush()
        return self.successResultOf(pending)

    def assertProblem(self, answer: Answer, status: int, detail: str) -> None:
        """The answer is these problem details."""
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["content-type"], "application/problem+json; charset=utf-8")
        self.assertEqual((answer.json["status"], answer.json["detail"]), (status, detail))

    def assertFailed(self, answer: Answer, status: int, error: str) -> None:
        """The answer is an error as consoles know them."""
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
        self.assertEqual(answer.json, {"success": False, "error": error})
