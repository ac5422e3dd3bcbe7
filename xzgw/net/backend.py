"""WebSockets to chat servers: one autobahn client connection per session.

Callbacks of autobahn's that raise would leave the socket open, its parser in disorder, and may
say nothing: each passes a guard, which logs and closes with 1011.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectingRequest
from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.core.ports import BackendEvents
from xzgw.wire.audio import server_audio
from xzgw.wire.frames import MAX_PAYLOAD, binary_frame, split_binary

MAX_MESSAGE = 1024 * 1024  # bytes from the server
MAX_HANDSHAKE = 16 * 1024  # bytes of the server's HTTP answer
MAX_BACKLOG = 256 * 1024  # bytes of text waiting for a server that does not read
CLOSE_TIME = 1.0  # s for the server's part of the closing handshake
PING_EVERY = 30  # s; a server that vanished without a word is noticed
PING_TIME = 10  # s for the pong
CLOSE_INTERNAL_ERROR = 1011


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
        self.audio_dropped = 0  # packets, because the server did not keep up
        self._reactor = reactor
        self._events = events
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

    def send_text(self, text: bytes) -> None:
        self._protocol.send_text(text)

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        if not self._protocol.send_small(server_audio(sequence, timestamp, opus)):
            self.audio_dropped += 1

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

    def message(self, payload: bytes, is_binary: bool) -> None:
        if is_binary:
            self._events.audio(payload)
        else:
            self._events.text(payload)

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
        self.lost("given up" if self._given_up else f"cannot connect: {_explain(failure)}")


class BackendProtocol(WebSocketClientProtocol):
    """autobahn's side of one connection; tells its owner."""

    owner: Connection
    transport: Any  # TCP or TLS
    state = WebSocketClientProtocol.STATE_CLOSED  # until there is a connection
    _log = Logger()

    def __init__(
        self, factory: WebSocketClientFactory, headers: Mapping[str, str], masks: Iterator[int]
    ) -> None:
        """Take 32 random bits for each frame as `masks`. `owner` must be set before it is used."""
        super().__init__()
        self.factory = factory
        self._headers = dict(headers)
        self._masks = masks
        self._is_tcp = False
        self._paused = False
        self._backlog = 0
        self._lost_by: Failure | None = None

    # --- towards the server ---

    def send_text(self, text: bytes) -> None:
        """Send a text message; a server that lets too much of it wait is cut off."""
        if self.state != self.STATE_OPEN:
            return
        self._backlog = self._backlog + len(text) if self._paused else 0
        if self._backlog > MAX_BACKLOG:
            self.abort("the server does not read")
            return
        self.sendMessage(text, isBinary=False)

    def send_small(self, message: bytes) -> bool:
        """Send a small binary message unless the server is behind reading; whether it was sent.

        The quick way: a frame of our own making, straight to the socket when nothing is queued.
        Through autobahn and the reactor's queue it cost 10 us more a frame, see wire.frames.
        """
        if self._paused or self.state != self.STATE_OPEN:
            return False
        if len(message) > MAX_PAYLOAD:
            self.sendMessage(message, isBinary=True)
            return True
        self._write_now(binary_frame(message, next(self._masks)))
        return True

    def _write_now(self, frame: bytes) -> None:
        """Write to the socket itself if nothing waits to be written: Twisted would register the
        socket with the reactor, write in its next round, and register it off again."""
        transport = self.transport
        # Twisted has no public way to ask whether anything waits.
        if self._is_tcp and not transport.dataBuffer and not transport._tempDataBuffer:
            try:
                sent = transport.socket.send(frame)
            except OSError:
                sent = 0  # a full buffer, or an error that the reactor will meet, too
            frame = frame[sent:]
        if frame:
            transport.write(frame)

    def start_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, or drop a connection that is not open yet."""
        if self.state == self.STATE_OPEN:
            # sendClose() would refuse 1001. The text is at most 123 bytes long.
            text = reason.encode()[:123].decode("utf-8", "ignore").encode()
            self.sendCloseFrame(code=code, reasonUtf8=text)
        else:
            self.abort(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection at once."""
        if self.state != self.STATE_CLOSED:
            self.wasNotCleanReason = reason
            self.dropConnection(abort=True)

    # IPushProducer: the transport tells when the server does not keep up.

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        self._paused = True

    # --- autobahn's and Twisted's callbacks ---

    def dataReceived(self, data: bytes) -> None:
        if self.state == self.STATE_OPEN and not self.data and not self._inside():
            data = self._take_small(data)
            if not data:
                return
        try:
            super().dataReceived(data)
        except Exception as error:
            # Of autobahn, which stumbles over handshakes that are not UTF-8, for one.
            self.abort(f"the server cannot be understood: {error}")
        if self.state == self.STATE_CONNECTING and len(self.data) > MAX_HANDSHAKE:
            self.abort("the server's HTTP answer has no end")

    def _inside(self) -> bool:
        """Whether autobahn waits for the rest of a message."""
        return bool(self.inside_message or self.current_frame)

    def _take_small(self, data: bytes) -> bytes:
        """Take the small binary messages that data begins with; returns the rest."""
        found, at = split_binary(data)
        for message in found:
            self.onMessage(message, True)
            if self.state != self.STATE_OPEN:
                return b""  # closed from inside: the rest is of no interest
        return data[at:] if found else data

    def onConnecting(self, transport_details: object) -> ConnectingRequest:
        factory = self.factory
        return ConnectingRequest(
            host=f"[{factory.host}]" if ":" in factory.host else factory.host,
            port=factory.port,
            resource=factory.resource,
            headers=self._headers,
            useragent=factory.useragent,
        )

    def onOpen(self) -> None:
        try:
            self.transport.registerProducer(self, True)
            self._is_tcp = isinstance(self.transport, tcp.Connection)
            self.owner.opened()
        except Exception:
            self._fail("opening")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        try:
            self.owner.message(payload, isBinary)
        except Exception:
            self._fail("reading")

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> bool | None:
        self.owner.closing()
        return super().onCloseFrame(code, reasonRaw)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost_by = reason
        super().connectionLost(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if wasClean:
            said = f": {reason}" if reason else ""
            self.owner.lost(f"server closed {f'with {code}' if code else 'without a code'}{said}")
        elif self._lost_by is not None and self._lost_by.check(SSL.Error):
            self.owner.lost(f"TLS failed: {_explain(self._lost_by)}")
        else:
            self.owner.lost(f"connection lost: {self.wasNotCleanReason}")

    def _fail(self, doing: str) -> None:
        """A fault of ours: this connection ends, nothing else."""
        self._log.failure("fault while {doing} a chat server's connection", doing=doing)
        self.owner.close(CLOSE_INTERNAL_ERROR, "gateway fault")


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


def _explain(failure: Failure) -> str:
    """One line about a failed connection."""
    error = failure.value
    if isinstance(error, SSL.Error):
        reasons = error.args[0] if error.args else ()
        return "; ".join(str(reason[-1]) for reason in reasons) or "TLS error"
    return " ".join(str(error).split()) or type(error).__name__
