"""The admin API as one resource: what every request passes before its Klein application has it.

Who shows no good token learns nothing, not even which paths there are: 401 comes before 404.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from xzgw.admin.api_counts import ApiCounts
from xzgw.admin.auth import Guard, Tokens
from xzgw.admin.clients import Network
from xzgw.admin.dashboard import Dashboard
from xzgw.admin.event_stream import EventStream
from xzgw.admin.health import Health
from xzgw.admin.legacy import Legacy
from xzgw.admin.metrics import PATH as METRICS
from xzgw.admin.metrics import Access, Metrics
from xzgw.admin.problems import Refusal, refuse
from xzgw.admin.routing import make_canonical
from xzgw.admin.v1 import V1
from xzgw.core.door import Door
from xzgw.core.totals import Histogram
from xzgw.wire.messages import Json

OPEN_PATHS = (b"/healthz", b"/readyz", b"/openapi.json")


class AdminApp(Resource):
    """See the module's text."""

    isLeaf = True

    def __init__(
        self,
        door: Door,
        stream: EventStream,
        *,
        tokens: Tokens,
        wrong: Callable[[str], float],
        trusted: Callable[[], Collection[Network]],
        ready: Callable[[], Sequence[str]],
        configuration: Callable[[], Json],
        metrics_token: Callable[[], str | None],
        lag: Callable[[], Histogram],
        clock: IReactorTime,
    ) -> None:
        """
        Args:
            stream: GET /v1/events.
            wrong: notes a wrong token from this address; seconds to wait before the answer.
            trusted: the proxies whose X-Forwarded-For is believed.
            ready: the reasons for not being ready; none means ready.
            configuration: GET /v1/config, times being unix seconds.
            metrics_token: see admin.metrics.
            lag: see core.lag.
        """
        super().__init__()
        self._guard = Guard(tokens, wrong, trusted, clock)
        self._open = Health(ready).app.resource()
        self._dashboard = Dashboard()
        self._counts = ApiCounts((Health.app, Metrics.app, Legacy.app, V1.app), self._dashboard.has)
        self._metrics_access = Access(metrics_token, wrong, trusted, clock)
        self._metrics = Metrics(door, lag, lambda: self._counts.answered).app.resource()
        self._parts = {
            b"api": Legacy(door).app.resource(),
            b"v1": V1(door, stream, configuration).app.resource(),
        }

    def render(self, request: Request) -> int:
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("X-Content-Type-Options", "nosniff")
        self._counts.watch(request)
        passing = Deferred.fromCoroutine(self._pass_on(request))
        passing.addErrback(_refused, request)
        request.notifyFinish().addErrback(lambda _: passing.cancel())
        return NOT_DONE_YET

    async def _pass_on(self, request: Request) -> None:
        """Hand the request to the application that its path belongs to."""
        names = request.requestHeaders.getRawHeaders(b"Host", [])
        first = make_canonical(request)  # which takes these away
        application: Resource
        if request.path in OPEN_PATHS:
            application = self._open
        elif self._dashboard.has(request.path):
            application = self._dashboard
        elif request.path == METRICS:
            await self._metrics_access.admit(request, names)
            application = self._metrics
        else:
            await self._guard.admit(request)
            if first not in self._parts:
                raise Refusal(404, "no such path")
            application = self._parts[first]
        request.render(application)


def _refused(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):  # the caller has gone while it was kept waiting
        request.write(refuse(request, failure))
        request.finish()
