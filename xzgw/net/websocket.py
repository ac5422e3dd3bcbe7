"""One WebSocket to a chat server: autobahn's client protocol, guarded, with a quick way for audio.

Callbacks of autobahn's that raise would leave the socket open, its parser in disorder, and may
say nothing: each passes a guard, which logs and closes with 1011.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from socket import socket
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.websocket.types import ConnectingRequest
from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from txaio.tx import make_logger

from xzgw.net.rationed import RationedProtocol
from xzgw.net.tcp import Backlog, explain, forget
from xzgw.wire.frames import audio_frame, lone_audio, split_binary

MAX_HANDSHAKE = 16 * 1024  # bytes of the server's HTTP answer
MAX_BACKLOG = 256 * 1024  # bytes of text and pongs waiting for a server that does not read
MAX_FRAGMENTS = 1000  # of a message
PONG_HEAD = 6  # bytes before its payload
TEXT = 1  # opcode
CLOSE_INTERNAL_ERROR = 1011
READ_SIZE = 16 * 1024  # bytes at once; frames of audio have some 200
STATE_OPEN = RationedProtocol.STATE_OPEN


class Owner(Protocol):
    """Whom the protocol tells."""

    def opened(self) -> None: ...

    def audio(self, message: bytes) -> None: ...

    def text(self, message: bytes) -> None: ...

    def closing(self) -> None: ...  # one side has said close

    def lost(self, reason: str) -> None: ...

    def close(self, code: int, reason: str) -> None: ...  # the gateway itself is at fault


class BackendProtocol(RationedProtocol):
    """autobahn's side of one connection; tells its owner."""

    owner: Owner
    _receive: Callable[[int], bytes]  # of plain TCP
    state = RationedProtocol.STATE_CLOSED  # until there is a connection
    log = make_logger(level="error")  # the rest is of the server's making: a line a pong
    _log = Logger()

    def __init__(
        self,
        factory: WebSocketClientFactory,
        headers: Mapping[str, str],
        masks: Iterator[int],
    ) -> None:
        """`owner` must be set before it is used.

        Args:
            masks: 32 random bits for each frame.
        """
        super().__init__()
        self.factory = factory
        self._headers = dict(headers)
        self._masks = masks
        self._socket: socket | None = None  # of plain TCP
        self.opus_to: Callable[[int, bytes], None] | None = None  # see core.ports.BackendLink
        self.audio_dropped = 0  # packets, because the server did not keep up
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
        # sendMessage() would raise an error over more than we take ourselves.
        self.sendFrame(opcode=TEXT, payload=text)

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        """Send one packet of audio, unless the server is behind reading.

        The quick way: a frame of our own making, straight to the socket when nothing waits to be
        written. Through autobahn it cost 10 us more a frame, see wire.frames; Twisted would
        register the socket with the reactor, write in its next round, and register it off again.
        """
        if self._backlog.paused or self.state != STATE_OPEN:
            self.audio_dropped += 1
            return
        frame = audio_frame(sequence, timestamp, opus, next(self._masks))
        transport = self.transport
        # Twisted has no public way to ask whether anything waits.
        if self._socket is not None and not transport.dataBuffer and not transport._tempDataBuffer:
            try:
                sent = self._socket.send(frame)
            except OSError:
                sent = 0  # a full buffer, or an error that the reactor will meet, too
            if sent == len(frame):
                return
            frame = frame[sent:]
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
        # Between autobahn's messages: it holds no bytes, no frame's head, no message's beginning.
        if self.state == STATE_OPEN and not (
            self.data or self.current_frame or self.inside_message
        ):
            try:
                if self.opus_to is not None and (packet := lone_audio(data)) is not None:
                    self.opus_to(*packet)
                    return
                data = self._take_audio(data)
            except Exception:
                self._fail("reading")
                return
            if not data:
                return
        try:
            super().dataReceived(data)
        except Exception as error:
            # Of autobahn, which stumbles over handshakes that are not UTF-8, for one.
            self.abort(f"the server cannot be understood: {error}")
        if self.state == self.STATE_CONNECTING and len(self.data) > MAX_HANDSHAKE:
            self.abort("the server's HTTP answer has no end")

    def _take_audio(self, data: bytes) -> bytes:
        """Take the small binary messages that data begins with; returns the rest."""
        found, at = split_binary(data)
        for message in found:
            self.owner.audio(message)
            if self.state != STATE_OPEN:
                return b""  # closed from inside: the rest is of no interest
        return data[at:] if found else data

    def _read(self) -> ConnectionDone | ConnectionLost | None:
        """In place of the transport's doRead, which makes room for 64 KiB each time."""
        try:
            data = self._receive(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.dataReceived(data)
        return None

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
            if isinstance(self.transport, tcp.Connection):
                self._socket = self.transport.socket
                self._receive = self.transport.socket.recv
                self.transport.doRead = self._read  # type: ignore[method-assign]
            self.owner.opened()
        except Exception:
            self._fail("opening")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != STATE_OPEN:
            return  # one side has said close
        try:
            if isBinary:
                self.owner.audio(payload)
            else:
                self.owner.text(payload)
        except Exception:
            self._fail("reading")

    def onMessageFrameBegin(self, length: int) -> None:
        super().onMessageFrameBegin(length)
        # Kept until the last one comes; and empty ones have no bytes that autobahn could count.
        if len(self.message_data) >= MAX_FRAGMENTS:
            self.abort("the server's message has too many fragments")

    def onPing(self, payload: bytes) -> None:
        if self._backlog.add(PONG_HEAD + len(payload)):
            self.abort("the server does not read")
        else:
            super().onPing(payload)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> bool | None:
        self.owner.closing()
        return super().onCloseFrame(code, reasonRaw)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost_by = reason
        super().connectionLost(reason)
        # What they hold may be large, and this object waits for the garbage collector.
        self.data, self.frame_data, self.message_data = b"", [], []
        forget(self.transport)
        self.transport = self._socket = None

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if wasClean:
            said = f": {reason}" if reason else ""
            self.owner.lost(f"server closed {f'with {code}' if code else 'without a code'}{said}")
        elif self._lost_by is not None and self._lost_by.check(SSL.Error):
            self.owner.lost(f"TLS failed: {explain(self._lost_by)}")
        elif self.factory.isSecure and not (
            self.droppedByMe or self.transport.getPeerCertificate()
        ):
            self.owner.lost("TLS failed: the server closed during the handshake; is it ws://?")
        else:
            self.owner.lost(f"connection lost: {self.wasNotCleanReason}")

    def _fail(self, doing: str) -> None:
        """A fault of ours: this connection ends, nothing else."""
        self._log.failure("fault while {doing} a chat server's connection", doing=doing)
        self.owner.close(CLOSE_INTERNAL_ERROR, "gateway fault")
