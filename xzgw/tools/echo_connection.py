"""One connection to the echo server: the xiaozhi-server's handshake, pings and close codes.

Source: xiaozhi-server core/websocket_server.py, core/auth.py, and observation of them
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.tools.echo_conversation import Conversation
from xzgw.tools.narration import Say, silent
from xzgw.tools.steps import Watch
from xzgw.wire.credentials import server_token

MAX_MESSAGE = 1 << 20  # bytes
TOKEN_SECONDS = 30 * 24 * 3600  # a token's life
NOT_AUTHENTICATED = "认证失败"

NORMAL, GOING_AWAY, INTERNAL_ERROR = 1000, 1001, 1011


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves; a secret, when set, is what tokens are checked with."""

    reactor: Any  # IReactorTCP and IReactorTime
    secret: str | None = field(default=None, repr=False)
    say: Say = silent
    ping_seconds: float = 20.0
    idle_seconds: float = 180.0


def authenticates(secret: str | None, headers: dict[str, str], now: float) -> bool:
    """Whether the handshake's token is right, or need not be for want of a secret."""
    if not secret:
        return True
    token = headers.get("authorization", "").removeprefix("Bearer ")
    signed_at = token.rpartition(".")[2]
    if not signed_at.isdecimal() or len(signed_at) > 12:
        return False
    # The real server verifies the text "None" for a header that is missing.
    client_id, mac = headers.get("client-id", "None"), headers.get("device-id", "None")
    expected = server_token(secret, client_id, mac, int(signed_at))
    fresh = now - int(signed_at) <= TOKEN_SECONDS
    return fresh and hmac.compare_digest(token.encode(), expected.encode())


class EchoConnection(WebSocketServerProtocol):
    """One WebSocket; thin, the conversation decides what is said."""

    transport: ITCPTransport
    _log = Logger()

    def __init__(
        self, settings: Settings, on_made: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        """Take what to call when the connection begins and has ended."""
        super().__init__()
        self.headers: dict[str, str] = {}  # of the handshake, names in lower case
        self._settings = settings
        self._on_made = on_made
        self._on_gone = on_gone
        self._timer: IDelayedCall | None = None
        self._awaits_pong = False
        self._last_heard = 0.0
        self.conversation = Conversation(settings.reactor, self, settings.say)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._on_made()

    def onConnect(self, request: ConnectionRequest) -> None:
        self.headers = dict(request.headers)
        lines = self.http_request_data.split(b"\r\n")[1:]
        names = Counter(line.split(b":")[0].strip().lower() for line in lines if line)
        twice = [name.decode("latin-1") for name, times in names.items() if times > 1]
        if twice:
            raise ConnectionDeny(500, f"header {twice[0]} came twice")
        if self.headers["connection"] != "Upgrade":
            # The real server takes any other value for a browser.
            raise ConnectionDeny(200, "Server is running")
        if not self.http_request_uri.endswith("?from=mqtt_gateway"):
            raise ConnectionDeny(400, "the path does not end with ?from=mqtt_gateway")

    def onOpen(self) -> None:
        self._guarded(self._greet)

    def _greet(self) -> None:
        self._last_heard = self._settings.reactor.seconds()
        self._tick_later()
        if not authenticates(self._settings.secret, self.headers, self._last_heard):
            self._settings.say(f"-> {NOT_AUTHENTICATED}: the token is wrong")
            self.send_text(NOT_AUTHENTICATED.encode())
            self.sendCloseFrame(NORMAL)
            return
        device = self.headers.get("device-id", "without device-id")
        self._settings.say(f"<- WebSocket of device {device}")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state != self.STATE_OPEN:
            return  # it was sent before our close arrived
        self._last_heard = self._settings.reactor.seconds()
        take = self.conversation.on_audio if isBinary else self.conversation.on_text
        self._guarded(lambda: take(payload))

    def _guarded(self, call: Callable[[], None]) -> None:
        # autobahn would swallow an exception and leave the socket open.
        try:
            call()
        except Exception:
            self._log.failure("echo server")
            self.sendCloseFrame(INTERNAL_ERROR)

    def onPong(self, payload: bytes) -> None:
        self._awaits_pong = False

    def _tick_later(self) -> None:
        self._timer = self._settings.reactor.callLater(self._settings.ping_seconds, self._tick)

    def _tick(self) -> None:
        if self._awaits_pong:
            self.sendCloseFrame(INTERNAL_ERROR, b"keepalive ping timeout")
        elif self._settings.reactor.seconds() - self._last_heard >= self._settings.idle_seconds:
            self.hang_up("idle for too long")
        else:
            self._awaits_pong = True
            self.sendPing(b"echo")
            self._tick_later()

    def send_text(self, text: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(text, isBinary=False)

    def send_audio(self, message: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(message, isBinary=True)

    def hang_up(self, reason: str) -> None:
        """Close the conversation in good order."""
        self._settings.say(f"closes the WebSocket: {reason}")
        self.sendCloseFrame(NORMAL)

    def leave(self) -> None:
        """Close because the server stops."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(GOING_AWAY)
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        timeout: Any = self.closeHandshakeTimeoutCall  # autobahn forgets it
        if timeout is not None:
            timeout.cancel()
        self.conversation.close("the WebSocket was closed")
        self._on_gone()


class EchoFactory(WebSocketServerFactory):
    """Makes the connections and keeps them, in the order in which they came."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(reactor=settings.reactor)
        self.connections: list[EchoConnection] = []
        self._settings = settings
        self._watch = Watch(settings.reactor)
        self.setProtocolOptions(
            failByDrop=False,  # say why before dropping, as the real server does
            echoCloseCodeReason=True,
            maxMessagePayloadSize=MAX_MESSAGE,
            webStatus=False,
            closeHandshakeTimeout=3,  # s; a busy machine may take longer than the usual one
        )

    def buildProtocol(self, addr: object) -> EchoConnection:
        def made() -> None:
            self.connections.append(connection)

        def gone() -> None:
            self.connections.remove(connection)
            self._watch.changed()

        connection = EchoConnection(self._settings, made, gone)
        connection.factory = self
        return connection

    def empty(self, seconds: float) -> Deferred[bool]:
        """Fire when there is no connection (any more); errbacks with StepError."""
        step = "end of the server's WebSockets"
        return self._watch.until(step, lambda: not self.connections or None, seconds)
