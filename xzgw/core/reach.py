"""Reaching a chat server for one hello: which one, for how long, and what next.

The device gives up 10 s after its hello. A server that refuses, rejects the upgrade or stays
silent is followed by the next; the last one left may use all the time that remains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from xzgw.core.chat_server import Server
from xzgw.core.device_peer import Peer
from xzgw.core.findings import Try
from xzgw.core.link import Feed, Link
from xzgw.core.mcp import McpClient
from xzgw.core.services import Services
from xzgw.core.session_types import BackendSilent, BackendSlow, NoBackend

SERVER_SHARE = 2.5  # s for connection and hello, while another server is left to try
ALL_SERVERS = 9.0  # s
LEAST_SHARE = 0.2  # s; with less time left no server is blamed for not answering in it
REPEAT_HELLO = 2.0  # s without an answer after which a server gets the hello again


class Reach:
    """The dials of one device, at most one at a time."""

    _log = Logger()

    def __init__(
        self,
        peer: Peer,
        services: Services,
        tools: McpClient,
        feed: Feed,
        unserved: Callable[[str, tuple[Try, ...]], None],
    ) -> None:
        """
        Args:
            unserved: told of each hello that got no answer: why, and which servers were tried.
        """
        self.started_at = 0.0  # clock seconds of the present hello
        self._peer = peer
        self._services = services
        self._tools = tools
        self._feed = feed
        self._unserved = unserved
        self._tried: dict[str, Try] = {}  # by URL, for the present hello
        self._timers: list[IDelayedCall] = []
        self._last: tuple[Link, Server] | None = None

    def dial(self, number: int, fresh: bool) -> Link | None:
        """Start to connect to the next server; with none left, NoBackend is fed.

        Args:
            fresh: for a new hello: all servers and the whole time again.
        """
        services, mac = self._services, self._peer.identity.mac
        self._cancel_timers()
        if fresh:
            self._tried = {}
            self.started_at = services.clock.seconds()
        left = self.started_at + ALL_SERVERS - services.clock.seconds()
        server = services.backends.choose(mac, self._tried) if left > LEAST_SHARE else None
        if server is None:
            self._give_up(number)
            return None
        self._tried[server.url] = Try(server.shown, "no answer")
        others = services.backends.choose(mac, self._tried) is not None
        share = min(SERVER_SHARE, left) if others else left
        link = self._make_link(number, server)
        self._after(share, partial(self._silent, link, server, share))
        link.attach(services.dial(server.url, self._headers(), link))
        return link

    def greeted(self, number: int) -> None:
        """The server has our hello."""
        self._after(REPEAT_HELLO, partial(self._feed, BackendSlow(number)))

    def reached(self) -> str:
        """The server has answered; returns its URL, for people."""
        self._cancel_timers()
        assert self._last is not None  # noqa: S101 - an answer comes from a link only
        link, server = self._last
        link.answered = True
        self._services.backends.succeeded(server)
        return server.shown

    def stop(self) -> None:
        """The dial is not wanted any more."""
        self._cancel_timers()

    def _make_link(self, number: int, server: Server) -> Link:
        self._services.backends.dialled(server)
        name = f"{self._peer.client_id} at {server.shown}"
        on_lost: Callable[[Link, str], None] = partial(self._link_lost, server)
        link = Link(number=number, name=name, feed=self._feed, tools=self._tools, on_lost=on_lost)
        self._last = link, server
        return link

    def _headers(self) -> dict[str, str]:
        identity = self._peer.identity
        return {
            "device-id": identity.mac,
            "client-id": identity.uuid,
            "protocol-version": "2",
            "authorization": "Bearer " + self._services.server_token(identity),
            "x-forwarded-for": self._peer.ip,
        }

    def _link_lost(self, server: Server, link: Link, reason: str) -> None:
        server.sessions -= 1
        if not link.answered and not link.closing:
            self._failed(server, link, reason)

    def _silent(self, link: Link, server: Server, seconds: float) -> None:
        self._failed(server, link, f"no hello within {seconds:.1f} s")
        self._feed(BackendSilent(link.number))

    def _failed(self, server: Server, link: Link, reason: str) -> None:
        self._tried[server.url] = Try(server.shown, reason, link.was_open, link.strange_text)
        device = self._peer.client_id if link.was_open else ""
        self._services.backends.failed(server, reason, device)

    def _give_up(self, number: int) -> None:
        client = self._peer.client_id
        if self._tried:
            reason = "no chat server answered"
            tried = "; ".join(f"{each.server}: {each.reason}" for each in self._tried.values())
            self._log.warn(
                "{client}: no session, no chat server answered its hello: {tried}",
                client=client,
                tried=tried,
            )
        else:
            reason = "every chat server is being drained"
            self._log.warn("{client}: no session, {reason}", client=client, reason=reason)
        self._services.tally.failed()
        self._unserved(reason, tuple(self._tried.values()))
        self._feed(NoBackend(number, reason))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append(self._services.clock.callLater(seconds, act))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()
