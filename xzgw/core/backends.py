"""Which chat server a session goes to: by the device's MAC, by load, by health."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from twisted.logger import Logger

from xzgw.core.events import Events

FIRST_PAUSE = 1.0  # s a server is left alone after it failed
LONGEST_PAUSE = 60.0  # s


class Server:
    """One chat server, as known so far."""

    __slots__ = ("failures", "last_error", "retry_at", "sessions", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.sessions = 0  # open or being opened
        self.failures = 0  # in a row, since it last answered a hello
        self.retry_at = 0.0  # clock seconds; until then it is left alone
        self.last_error = ""


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
    ) -> None:
        """Take new lists of URLs. MACs in lower case with colons."""
        known = self._servers
        self._servers = {url: known.get(url) or Server(url) for url in (*production, *development)}
        self._production = tuple(self._servers[url] for url in dict.fromkeys(production))
        self._development = tuple(self._servers[url] for url in dict.fromkeys(development))
        self._development_macs = development_macs

    def trouble(self) -> str | None:
        """Why devices cannot be served now, as far as the servers are concerned."""
        now = self._now()
        if any(server.retry_at <= now for server in self._production):
            return None
        what = "; ".join(f"{server.url}: {server.last_error}" for server in self._production)
        return f"every chat server has failed lately: {what}"

    def choose(self, mac: str, tried: Collection[str] = ()) -> Server | None:
        """The server to dial next: of those well, the one with the fewest sessions.

        If all that are left have failed lately, the one whose pause ends first.

        Args:
            mac: the device's, any case.
            tried: URLs already tried for the same hello.
        Returns:
            None when there is nothing left to try.
        """
        left = [server for server in self._group(mac) if server.url not in tried]
        now = self._now()
        well = [server for server in left if server.retry_at <= now]
        if well:
            return min(well, key=lambda server: server.sessions)
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
        """It answered a hello."""
        if server.failures:
            self._log.info("chat server {url} answers again", url=server.url)
            self._events.publish("backend_up", server=server.url)
        server.failures = 0
        server.retry_at = 0.0

    def _group(self, mac: str) -> tuple[Server, ...]:
        if self._development and mac.lower() in self._development_macs:
            return self._development
        return self._production
