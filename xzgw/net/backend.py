"""WebSockets to chat servers: one connection per session, from the dial to its end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from xzgw.core.ports import BackendEvents
from xzgw.net.tcp import explain
from xzgw.net.websocket import BackendProtocol

MAX_MESSAGE = 1024 * 1024  # bytes from the server
CLOSE_TIME = 1.0  # s for the server's part of the closing handshake
PING_EVERY = 30  # s; a server that vanished without a word is noticed
PING_TIME = 10  # s for the pong


class WebSocketDialer:
    """Dials chat servers (core.ports.Dialer)."""

    def __init__(
        self,
        reactor: Any,
        endpoint: Callable[[str, int], IStreamClientEndpoint],
        tls: Callable[[str], IOpenSSLClientConnectionCreator],
        entropy: Callable[[int], bytes],
    ) -> None:
        """
        Args:
            reactor: time.
            endpoint: for TCP connections to a host and port.
            tls: for connections to a host, verifying that it is this host; what is wrong comes
                as an error of OpenSSL's.
            entropy: that many random bytes, for the masks of frames.
        """
        self._reactor = reactor
        self._connect_to = endpoint
        self._masks = _masks(entropy)
        self._tls = tls
        self._factories: dict[str, WebSocketClientFactory] = {}
        self._open: set[Connection] = set()
        self._idle: list[Deferred[None]] = []

    def __call__(self, url: str, headers: Mapping[str, str], events: BackendEvents) -> Connection:
        factory = self._factories.get(url)
        if factory is None:
            factory = self._factories[url] = _make_factory(self._reactor, url)
        endpoint = self._endpoint(factory)
        protocol = BackendProtocol(factory, headers, self._masks)
        connection = Connection(self._reactor, protocol, events, self._lost)
        self._open.add(connection)
        connection.connect(endpoint)
        return connection

    def when_idle(self) -> Deferred[None]:
        """Fires when no connection is left; they are for their sessions to close."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._check_idle()
        return done

    def _endpoint(self, factory: WebSocketClientFactory) -> IStreamClientEndpoint:
        endpoint = self._connect_to(factory.host, factory.port)
        if not factory.isSecure:
            return endpoint
        return wrapClientTLS(self._tls(factory.host), endpoint)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._check_idle()

    def _check_idle(self) -> None:
        if not self._open:
            waiting, self._idle = self._idle, []
            for done in waiting:
                done.callback(None)


class Connection:
    """One dial and the WebSocket that comes of it (core.ports.BackendLink)."""

    def __init__(
        self,
        reactor: Any,
        protocol: BackendProtocol,
        events: BackendEvents,
        on_lost: Callable[[Connection], None],
    ) -> None:
        self._reactor = reactor
        self._events = events
        # One frame of audio after the other passes here: no layer that only hands on.
        self.send_audio = protocol.send_audio
        self.audio = events.audio
        self.text = events.text
        self._on_lost = on_lost
        self._protocol = protocol
        protocol.owner = self
        self._connecting: Deferred[Any] | None = None
        self._given_up = False
        self._closing: IDelayedCall | None = None
        self._over = False

    def connect(self, endpoint: IStreamClientEndpoint) -> None:
        """Start; the events tell how it went."""
        self._connecting = endpoint.connect(_OneShot(self._protocol))
        self._connecting.addCallbacks(self._connected, self._not_connected)

    @property
    def audio_dropped(self) -> int:
        """Packets that the server was too slow to be sent."""
        return self._protocol.audio_dropped

    def opus_to(self, take: Callable[[int, bytes], None] | None) -> None:
        self._protocol.opus_to = take

    def send_text(self, text: bytes) -> None:
        self._protocol.send_text(text)

    def close(self, code: int, reason: str) -> None:
        if self._over or self._closing is not None:
            return
        if self._connecting is not None:
            self._given_up = True
            self._connecting.cancel()
            return
        self.closing()
        self._protocol.start_close(code, reason)

    # --- from the protocol ---

    def opened(self) -> None:
        self._events.opened()

    def closing(self) -> None:
        """One side said close; a server that does not see it through is cut off."""
        if self._closing is None:
            abort, reason = self._protocol.abort, "the server did not close in time"
            self._closing = self._reactor.callLater(CLOSE_TIME, abort, reason)

    def lost(self, reason: str) -> None:
        self._over = True
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._events.lost("".join(c if c.isprintable() else " " for c in reason))
        self._on_lost(self)

    def _connected(self, _: object) -> None:
        self._connecting = None

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        self.lost("given up" if self._given_up else f"cannot connect: {explain(failure)}")


def _masks(entropy: Callable[[int], bytes]) -> Iterator[int]:
    """32 random bits at a time; those of 1024 frames are made at once, which is cheaper."""
    while True:
        yield from struct.unpack(">1024I", entropy(4096))


class _OneShot(Factory):
    """Connects exactly one protocol, made beforehand."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


def _make_factory(reactor: Any, url: str) -> WebSocketClientFactory:
    factory = WebSocketClientFactory(url, useragent="xzgw", reactor=reactor)
    factory.noisy = False
    factory.setProtocolOptions(
        maxMessagePayloadSize=MAX_MESSAGE,
        maxFramePayloadSize=MAX_MESSAGE,
        openHandshakeTimeout=0,  # the session has its own time budget
        closeHandshakeTimeout=0,  # Connection.closing has its own, too
        serverConnectionDropTimeout=0,
        autoPingInterval=PING_EVERY,
        autoPingTimeout=PING_TIME,
        tcpNoDelay=True,
    )
    # The server looks at the very end of the request path: nothing of it may change.
    parts = urlsplit(url)
    factory.resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return factory
