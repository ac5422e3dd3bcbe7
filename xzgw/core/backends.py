"""Which chat server a session goes to: by the device's MAC, by load, by health.

A server that answers again after failures is not flooded at once: for SLOW_START its weight grows
from FIRST_SHARE of what is configured to all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from twisted.logger import Logger

from xzgw.core.door import NoSuchBackend
from xzgw.core.events import Events

FIRST_PAUSE = 1.0  # s a server is left alone after it failed
LONGEST_PAUSE = 60.0  # s
SLOW_START = 30.0  # s
FIRST_SHARE = 0.1
ALL_EQUAL: Mapping[str, int] = MappingProxyType({})


class Server:
    """One chat server, as known so far; it outlives its place in the lists while in use."""

    __slots__ = (
        "checked_at",
        "draining",
        "failures",
        "last_error",
        "recovered_at",
        "retry_at",
        "sessions",
        "url",
        "weight",
    )

    def __init__(self, url: str) -> None:
        self.url = url
        self.weight = 1
        self.sessions = 0  # open or being opened
        self.failures = 0  # in a row, since it last answered a hello
        self.retry_at = 0.0  # clock seconds; until then it is left alone
        self.recovered_at = float("-inf")  # clock seconds; when it last answered after failures
        self.checked_at = float("-inf")  # clock seconds; see core.backend_check
        self.last_error = ""
        self.draining = False  # no new sessions, by the operator's wish

    def load(self, now: float) -> float:
        """Sessions per weight, were it to get one more."""
        share = FIRST_SHARE + (1 - FIRST_SHARE) * (now - self.recovered_at) / SLOW_START
        return (self.sessions + 1) / (self.weight * min(share, 1.0))


class Backends:
    """All chat servers. Their state survives a change of the lists."""

    _log = Logger()

    def __init__(self, now: Callable[[], float], events: Events) -> None:
        """Take a clock, in seconds, and whom to tell of servers going down and up."""
        self._now = now
        self._events = events
        self._servers: dict[str, Server] = {}
        self._production: tuple[Server, ...] = ()
        self._development: tuple[Server, ...] = ()
        self._development_macs: Collection[str] = ()

    def configure(
        self,
        production: Iterable[str],
        development: Iterable[str],
        development_macs: Collection[str],
        weights: Mapping[str, int] = ALL_EQUAL,
    ) -> None:
        """Take new lists of URLs.

        Args:
            development_macs: in lower case with colons.
            weights: by URL; 1 for those that are not in it.
        """
        known = self._servers
        listed = {url: known.get(url) or Server(url) for url in (*production, *development)}
        # Their sessions go on, and must still count if the server is listed again.
        removed = {url: each for url, each in known.items() if each.sessions and url not in listed}
        self._servers = listed | removed
        for url, server in listed.items():
            server.weight = weights.get(url, 1)
        self._production = tuple(listed[url] for url in dict.fromkeys(production))
        self._development = tuple(listed[url] for url in dict.fromkeys(development))
        self._development_macs = development_macs

    def known(self) -> list[tuple[Server, tuple[str, ...]]]:
        """Every server with the groups it is listed in; none if only sessions are left of it."""
        groups = {"production": self._production, "development": self._development}
        found = [
            (server, tuple(name for name, group in groups.items() if server in group))
            for server in self._servers.values()
        ]
        return [(server, where) for server, where in found if where or server.sessions]

    def listed(self) -> list[Server]:
        """The servers that are configured now."""
        return [server for server, groups in self.known() if groups]

    def drain(self, url: str, draining: bool) -> None:
        """Give a server no new sessions, or give it some again; open ones stay.

        Raises:
            NoSuchBackend: there is no server with this URL.
        """
        found = next((server for server, _ in self.known() if server.url == url), None)
        if found is None:
            raise NoSuchBackend("no chat server has this address")
        if found.draining != draining:
            found.draining = draining
            what = "gets no new sessions" if draining else "gets new sessions again"
            self._log.info("chat server {url} {what}, by the operator", url=url, what=what)

    def trouble(self) -> str | None:
        """Why devices cannot be served now, as far as the servers are concerned."""
        now = self._now()
        taking = [server for server in self._production if not server.draining]
        if any(server.retry_at <= now for server in taking):
            return None
        what = "; ".join(
            f"{server.url}: {'draining' if server.draining else server.last_error}"
            for server in self._production
        )
        if len(taking) < len(self._production):
            return f"every chat server is draining or has failed lately: {what}"
        return f"every chat server has failed lately: {what}"

    def choose(self, mac: str, tried: Collection[str] = ()) -> Server | None:
        """The server to dial next: of those well, the one with the least load.

        If all that are left have failed lately, the one whose pause ends first.

        Args:
            mac: the device's, any case.
            tried: URLs already tried for the same hello.
        Returns:
            None when there is nothing left to try.
        """
        left = [s for s in self._group(mac) if s.url not in tried and not s.draining]
        now = self._now()
        well = [server for server in left if server.retry_at <= now]
        if well:
            return min(well, key=lambda server: server.load(now))
        return min(left, key=lambda server: server.retry_at, default=None)

    def failed(self, server: Server, reason: str) -> None:
        """It refused, rejected the upgrade or stayed silent; leave it alone for a growing while."""
        server.last_error = reason
        now = self._now()
        if now < server.retry_at:
            return  # many dials failed at once: that is one failure
        pause = min(FIRST_PAUSE * 2**server.failures, LONGEST_PAUSE)
        server.failures = min(server.failures + 1, 16)
        server.retry_at = now + pause
        self._log.warn(
            "chat server {url} failed: {reason}; others are preferred for {pause:.0f} s",
            url=server.url,
            reason=reason,
            pause=pause,
        )
        self._events.publish("backend_down", server=server.url, reason=reason, pause=pause)

    def succeeded(self, server: Server) -> None:
        """It answered."""
        if server.failures:
            server.recovered_at = self._now()
            self._log.info("chat server {url} answers again", url=server.url)
            self._events.publish("backend_up", server=server.url)
        server.failures = 0
        server.retry_at = 0.0

    def _group(self, mac: str) -> tuple[Server, ...]:
        if self._development and mac.lower() in self._development_macs:
            return self._development
        return self._production
