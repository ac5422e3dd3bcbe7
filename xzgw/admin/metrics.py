"""GET /metrics, for Prometheus: for the bearer of its own token, or for this machine alone."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from klein import Klein
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, exposition
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from twisted.copyright import version as twisted_version
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from xzgw import __version__
from xzgw.admin import metric_families
from xzgw.admin.api_counts import Kind
from xzgw.admin.auth import Guard, OneToken, way_of
from xzgw.admin.clients import Network, from_here
from xzgw.admin.problems import Refusal
from xzgw.admin.routing import new_app
from xzgw.core.door import Door
from xzgw.core.totals import Histogram

PATH = b"/metrics"
# By which proxies show themselves; X-Forwarded-For is looked at apart.
PROXY_HEADERS = (b"Forwarded", b"Via", b"X-Real-IP", b"X-Forwarded-Host", b"X-Forwarded-Proto")
# Addresses, and names that stand in no public DNS. By a name of their own, strangers could have a
# browser on this machine ask for them ("DNS rebinding").
OWN_NAME = re.compile(rb"([^.:\[]*|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")
NOT_HERE = (
    "without METRICS_TOKEN, metrics are only for programs on this machine that ask directly, by an"
    " address or a name without dots,"
    " or by a proxy here that is one of trusted_proxies"
)
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text"


class Access:
    """Who may read metrics."""

    def __init__(
        self,
        token: Callable[[], str | None],
        wrong: Callable[[str], float],
        trusted: Callable[[], Collection[Network]],
        clock: IReactorTime,
    ) -> None:
        """
        Args:
            token: as configured now; None to let in whoever is on this machine, and nobody else.
            wrong, trusted: see Guard.
        """
        self._token = token
        self._trusted = trusted
        reason = "wrong token; METRICS_TOKEN is the one for metrics"
        self._guard = Guard(OneToken(token), wrong, trusted, clock, reason)

    async def admit(self, request: Request, names: Sequence[bytes]) -> None:
        """
        Args:
            names: by which it was asked (header Host).
        Raises:
            Refusal: 401 or 403.
        """
        if self._token():
            await self._guard.admit(request)
        elif not self._from_here(request, names):
            raise Refusal(403, NOT_HERE)

    def _from_here(self, request: Request, names: Sequence[bytes]) -> bool:
        peer, forwarded = way_of(request)
        proxied = any(map(request.requestHeaders.hasHeader, PROXY_HEADERS))
        direct = not proxied and all(map(OWN_NAME.fullmatch, names))
        return (bool(forwarded) or direct) and from_here(peer, forwarded, self._trusted())


@dataclass(frozen=True, slots=True)
class _Families:
    """Those of one scrape, as prometheus_client takes them."""

    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class Metrics:
    """See the module's text."""

    app: Klein = new_app()

    def __init__(
        self,
        door: Door,
        lag: Callable[[], Histogram],
        requests: Callable[[], Mapping[Kind, int]],
    ) -> None:
        """
        Args:
            lag: see core.lag.
            requests: those that the API has answered.
        """
        self._door = door
        self._lag = lag
        self._requests = requests
        self._process = CollectorRegistry()
        GCCollector(self._process)
        ProcessCollector(registry=self._process)

    @app.route(PATH.decode("ascii"), methods=["GET"])
    async def show(self, request: Request) -> bytes:
        status, totals = await self._door.status(), await self._door.totals()
        families = _Families(
            chain(
                [_build(status.version)],
                metric_families.of_status(status),
                metric_families.of_servers(await self._door.backends()),
                metric_families.of_sessions(totals),
                metric_families.of_audio(totals, status.counts),
                metric_families.of_process(self._requests(), self._lag()),
                self._process.collect(),
            )
        )
        body, content_type = _written(request, families)
        request.setHeader("Content-Type", content_type)
        request.setHeader("Content-Length", str(len(body)))
        return body


def _written(request: Request, families: _Families) -> tuple[bytes, str]:
    """The text, in the newer format for who asks for that, and its content type."""
    accepted = b",".join(request.requestHeaders.getRawHeaders(b"Accept", []))
    kinds = (each.partition(b";")[0].strip().lower() for each in accepted.split(b","))
    if OPENMETRICS in kinds:
        return openmetrics.generate_latest(families), openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(families), PLAIN


def _build(version: str) -> Metric:
    versions = {
        "version": version or __version__,
        "python": platform.python_version(),
        "twisted": twisted_version,
    }
    return InfoMetricFamily("xzgw_build", "What is running.", versions)
