"""Which chat server a session goes to: by the device's MAC, by load, by health.

Failures of sessions and failures of checks (core.backend_check) are counted apart. A check shows
only that there is a WebSocket: one that succeeds forgets what checks found. That a server serves
sessions, only a session can show: one that is answered forgets everything. After its pause a
server that has failed is tried by one session at a time; if it has failed a check, by none until
the next check, as long as there are others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from twisted.logger import Logger

from xzgw.core.chat_server import Failures, Server
from xzgw.core.door import Conflict, NoSuchBackend
from xzgw.core.events import Events
from xzgw.core.sayings import Saying, row, say

ONE_TRY = 2.5  # s that one session may try a server alone, without saying what came of it
ALL_EQUAL: Mapping[str, int] = MappingProxyType({})


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

        Args:
            url: as configured, or as shown.

        Raises:
            NoSuchBackend: there is no server with this URL.
            Conflict: several are shown like this.
        """
        found = self._named(url)
        if found.draining != draining:
            found.draining = draining
            if not draining:
                found.recovered_at = self._now()  # it may just have been started
            what = "gets no new sessions" if draining else "gets new sessions again"
            self._log.info("chat server {url} {what}, by the operator", url=found.shown, what=what)

    def trouble(self) -> Saying | None:
        """Why devices cannot be served now, as far as the servers are concerned."""
        now = self._now()
        taking = [server for server in self._production if not server.draining]
        if any(server.ready_at <= now for server in taking):
            return None
        left = len(taking) < len(self._production)
        parts = [say("servers_left") if left else say("servers_failed")]
        for n, server in enumerate(self._production):
            parts += [say("next")] if n else []
            parts.append(_trouble(server))
        return row(*parts)

    def choose(self, mac: str, tried: Collection[str] = ()) -> Server | None:
        """The server to dial next: of those well, the one with the least load.

        If all that are left have failed lately, the one whose pause ends first; after these,
        those that failed their last check.

        Args:
            mac: the device's, any case.
            tried: URLs already tried for the same hello.
        Returns:
            None when there is nothing left to try.
        """
        left = [s for s in self._group(mac) if s.url not in tried and not s.draining]
        now = self._now()
        well = [server for server in left if max(server.free_at, server.held_until) <= now]
        if well:
            return min(well, key=lambda server: server.load(now))
        return min(left, key=lambda s: (s.held_until > now, s.free_at), default=None)

    def dialled(self, server: Server) -> None:
        """A session is being opened there; it counts from now on."""
        server.sessions += 1
        if server.failures:
            server.tried_until = self._now() + ONE_TRY

    def failed(self, server: Server, reason: str, device: str = "") -> None:
        """It refused, rejected the upgrade or stayed silent; leave it alone for a growing while.

        Args:
            device: the client id of who was not answered, if there was a WebSocket; empty if not.
        """
        alone = not server.in_sessions.count or server.only == device
        server.only = device if alone else ""
        server.tried_until = 0.0
        self._fail(server, server.in_sessions, reason)

    def succeeded(self, server: Server) -> None:
        """It answered a hello."""
        server.tried_until = 0.0
        self._forget(server, server.in_sessions, server.in_checks)

    def check_failed(self, server: Server, reason: str, again: float = 0.0) -> None:
        """It did not come to a WebSocket; leave it alone as after a session that failed, and until
        the next check is over, in `again` seconds.
        """
        server.held_until = self._now() + again
        self._fail(server, server.in_checks, reason)

    def check_succeeded(self, server: Server) -> None:
        """It opens WebSockets; whether it answers hellos is not known."""
        self._forget(server, server.in_checks)

    def unchecked(self) -> None:
        """There are no checks any more: no server is to wait for its next one."""
        for server in self._servers.values():
            server.held_until = 0.0

    def _fail(self, server: Server, kind: Failures, reason: str) -> None:
        now = self._now()
        if not kind.add(reason, now):
            return
        pause = server.retry_at - now
        self._log.warn(
            "chat server {url} failed: {reason}; others are preferred for {pause:.0f} s",
            url=server.shown,
            reason=reason,
            pause=pause,
        )
        self._events.publish("backend_down", server=server.shown, reason=reason, pause=pause)

    def _forget(self, server: Server, *kinds: Failures) -> None:
        failing = server.failures
        server.held_until = 0.0  # a check or more has just succeeded
        for kind in kinds:
            kind.clear()
        if failing and not server.failures:
            server.recovered_at = self._now()
            self._log.info("chat server {url} answers again", url=server.shown)
            self._events.publish("backend_up", server=server.shown)

    def _named(self, url: str) -> Server:
        servers = [server for server, _ in self.known()]
        found = [server for server in servers if server.url == url]
        found = found or [server for server in servers if server.shown == url]
        if not found:
            raise NoSuchBackend("no chat server has this address")
        if len(found) > 1:
            raise Conflict("several chat servers are shown like this: name one as it is configured")
        return found[0]

    def _group(self, mac: str) -> tuple[Server, ...]:
        if self._development and mac.lower() in self._development_macs:
            return self._development
        return self._production


def _trouble(server: Server) -> Saying:
    if server.draining:
        return say("server_draining", server=server.shown)
    return say("server_failed", server=server.shown, reason=server.last_error)
