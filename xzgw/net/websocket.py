"""One WebSocket to a chat server: autobahn's client protocol, guarded, with a quick way for audio.

Callbacks of autobahn's that raise would leave the socket open, its parser in disorder, and may
say nothing: each passes a guard, which logs and closes with 1011.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectingRequest
from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.net.tcp import Backlog
from xzgw.wire.frames import MAX_PAYLOAD, binary_frame, split_binary

MAX_HANDSHAKE = 16 * 1024  # bytes of the server's HTTP answer
MAX_BACKLOG = 256 * 1024  # bytes of text waiting for a server that does not read
CLOSE_INTERNAL_ERROR = 1011


class Owner(Protocol):
    """Whom the protocol tells."""

    def opened(self) -> None: ...

    def message(self, payload: bytes, is_binary: bool) -> None: ...

    def closing(self) -> None:
        """One side has said close."""

    def lost(self, reason: str) -> None: ...

    def close(self, code: int, reason: str) -> None:
        """To be called when the gateway itself is at fault."""


class BackendProtocol(WebSocketClientProtocol):
    """autobahn's side of one connection; tells its owner."""

    owner: Owner
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
        self._backlog = Backlog(MAX_BACKLOG)
        self._lost_by: Failure | None = None

    # --- towards the server ---

    def send_text(self, text: bytes) -> None:
        """Send a text message; a server that lets too much of it wait is cut off."""
        if self.state != self.STATE_OPEN:
            return
        if self._backlog.add(len(text)):
            self.abort("the server does not read")
            return
        self.sendMessage(text, isBinary=False)

    def send_small(self, message: bytes) -> bool:
        """Send a small binary message unless the server is behind reading; whether it was sent.

        The quick way: a frame of our own making, straight to the socket when nothing is queued.
        Through autobahn and the reactor's queue it cost 10 us more a frame, see wire.frames.
        """
        if self._backlog.paused or self.state != self.STATE_OPEN:
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
            self.transport.registerProducer(self._backlog, True)
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
            self.owner.lost(f"TLS failed: {explain(self._lost_by)}")
        else:
            self.owner.lost(f"connection lost: {self.wasNotCleanReason}")

    def _fail(self, doing: str) -> None:
        """A fault of ours: this connection ends, nothing else."""
        self._log.failure("fault while {doing} a chat server's connection", doing=doing)
        self.owner.close(CLOSE_INTERNAL_ERROR, "gateway fault")


def explain(failure: Failure) -> str:
    """One line about a failed connection."""
    error = failure.value
    if isinstance(error, SSL.Error):
        reasons = error.args[0] if error.args else ()
        return "; ".join(str(reason[-1]) for reason in reasons) or "TLS error"
    return " ".join(str(error).split()) or type(error).__name__
