"""Looks after chat servers that nobody talks to: one WebSocket upgrade each, every now and then.

The upgrade shows that the server is there, no more: the connection is closed at once, without a
hello. It names no device, so that the server makes no session of it. So a check that succeeds
heals what checks found, and nothing that sessions found: core.backends. One that has failed a check
gets no sessions until its next one, so that comes within a minute, however rare checks are.
"""

from __future__ import annotations

from collections.abc import Callable

from xzgw.core.backends import Backends
from xzgw.core.chat_server import LONGEST_PAUSE, Server
from xzgw.core.ports import BackendLink
from xzgw.core.services import Services

LOOK_EVERY = 1.0  # s
ANSWER_TIME = 5.0  # s for connection and upgrade
SLACK = 3.0  # s that a check may come later than it is due: for the last one's end, and for looks

CLOSE_NORMAL, CLOSE_GOING_AWAY = 1000, 1001


class BackendCheck:
    """See the module's text. `backend_check_seconds` says how often; with 0 there is no check."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: dict[Server, _Check] = {}

    def look(self) -> None:
        """Check those that are due; to be called every LOOK_EVERY seconds."""
        services = self._services
        now = services.clock.seconds()
        for check in list(self._open.values()):
            if now >= check.started_at + ANSWER_TIME:
                check.give_up()
        every = services.config.backend_check_seconds
        if not every:
            services.backends.unchecked()
            return
        for server in services.backends.listed():
            seconds = min(every, LONGEST_PAUSE) if server.in_checks.count else every
            if server not in self._open and now >= server.checked_at + seconds:
                self._start(server, now, min(every, LONGEST_PAUSE) + ANSWER_TIME + SLACK)

    def stop(self) -> None:
        """Close what is under way; it says nothing about the servers any more."""
        for check in list(self._open.values()):
            check.close(CLOSE_GOING_AWAY)

    def _start(self, server: Server, now: float, again: float) -> None:
        server.checked_at = now

        def over() -> None:
            del self._open[server]

        check = self._open[server] = _Check(server, self._services.backends, now, again, over)
        check.attach(self._services.dial(server.url, {}, check))


class _Check:
    """One connection (ports.BackendEvents)."""

    def __init__(
        self, server: Server, backends: Backends, now: float, again: float, over: Callable[[], None]
    ) -> None:
        """
        Args:
            now: clock seconds.
            again: seconds from its failure until the next check is over.
            over: told once, when the connection is no more.
        """
        self.started_at = now
        self._again = again
        self._server = server
        self._backends = backends
        self._over = over
        self._settled = False
        self._link: BackendLink | None = None

    def attach(self, link: BackendLink) -> None:
        """Take the connection that the dialer made."""
        self._link = link
        if self._settled:  # before the dialer returned
            link.close(CLOSE_NORMAL, "check")

    def give_up(self) -> None:
        """Its time is up."""
        if not self._settled:
            self._fail(f"no answer within {ANSWER_TIME:g} s")
            self.close(CLOSE_NORMAL)

    def close(self, code: int) -> None:
        """End it; what comes of it now does not matter."""
        self._settled = True
        if self._link is not None:
            self._link.close(code, "check")

    def opened(self) -> None:
        self._backends.check_succeeded(self._server)
        self.close(CLOSE_NORMAL)

    def text(self, text: bytes) -> None:
        """Servers greet strangers in their own ways."""

    def audio(self, message: bytes) -> None:
        """Nobody would hear it."""

    def lost(self, reason: str) -> None:
        self._over()
        if not self._settled:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self._backends.check_failed(self._server, f"check: {reason}", self._again)
