"""twisted.web's server, bounded: bodies, the time to send a request, and the time to stop."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from xzgw.admin.bodies import MAX_BODY
from xzgw.admin.problems import error_body
from xzgw.core.limits import Limits
from xzgw.wire import messages

MAX_READ = 1024 * 1024  # bytes of a body; up to here a body too large is read and dropped
REQUEST_TIME = 60  # s to the first request's first byte, and from any one's first byte to its last
IDLE_TIME = 75  # s between requests; with 60 who asks once a minute would meet the closing door
ABORT_TIME = 15  # s after that for what is still to be taken by who was too slow
CLOSE_TIME = 2.0  # s that requests in progress have when the gateway stops
RETRY_AFTER = 5  # s, for who comes when there are too many connections

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def busy(received: bytes) -> bytes | None:
    """What a connection gets that there is no room for: 503 to its first request, whatever it is.

    Args:
        received: everything so far.
    Returns:
        None until the request's head is there.
    """
    if b"\r\n\r\n" not in received:
        return None
    method, _, rest = received.partition(b" ")
    reason = "there are too many connections (max_api_connections)"
    value, content_type = error_body(rest, 503, reason)
    body = messages.encode(value)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        f"Retry-After: {RETRY_AFTER}\r\nCache-Control: no-store\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if method == b"HEAD" else body)


class AdminRequest(Request):
    """Keeps as much of the body as tells whether it is too large. Never parses forms."""

    channel: AdminChannel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = bytearray()
        self._received = 0
        self._cut_off = False

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        if length is not None and length > MAX_READ:
            self._cut()

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        self.kept += data[: MAX_BODY + 1 - len(self.kept)]
        if self._received > MAX_READ:
            self._cut()

    def process(self) -> None:
        # Only now does the body become visible: what is there earlier is looked at for forms.
        self.content = BytesIO(self.kept)
        if not self._cut_off:
            super().process()

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"Server")
        super().write(data)

    def _cut(self) -> None:
        if not self._cut_off:
            self._cut_off = True
            self.channel.hang_up(_TOO_LARGE)


class AdminChannel(HTTPChannel):
    """One connection. A request has REQUEST_TIME in all, however slowly it trickles in.

    Of requests that come at once, each has to wait for its turn: until the reactor has looked
    after everybody else, and the answers before it are on their way. Twisted would answer some
    thousand of them in one go, whether or not they are read.
    """

    site: AdminSite
    transport: Any
    abortTimeout = ABORT_TIME
    _between_requests = True
    _turn: IDelayedCall | None = None

    def resetTimeout(self) -> None:
        if self._between_requests:
            self._between_requests = False
            self.setTimeout(REQUEST_TIME)

    def headerReceived(self, line: bytes) -> bool:
        if line.lower().startswith(b"content-length") and len(line) > 100:
            self.hang_up(_BAD_REQUEST)  # int() raises an error over thousands of digits
            return False
        return bool(super().headerReceived(line))

    def requestDone(self, request: Request) -> None:
        self._between_requests = True
        self.paused = True  # or what has come already would be looked at now
        super().requestDone(request)
        # Of the last answer, Twisted would wait for ever for it to be taken.
        self.setTimeout(IDLE_TIME if self.persistent else REQUEST_TIME)
        if self.persistent:
            self.paused = bool(self._buffer)
            if self.paused:
                self._wait_for_turn()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self.paused:
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        self._networkProducer.pauseProducing()
        if self._turn is None:
            self._turn = self.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        if self._waitingForTransport:
            return  # resumeProducing comes
        self.paused = False
        self._networkProducer.resumeProducing()
        self.dataReceived(b"")

    def timeoutConnection(self) -> None:
        # As Twisted's, which has a line in the log for each; strangers may cause many.
        if self._between_requests and self.timeOut:
            self.setTimeout(0)  # a request that has come, but is not read yet, is to be answered
        elif self.persistent:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()
        else:
            self.transport.abortConnection()

    def forceAbortClient(self) -> None:
        self._abortingCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._turn is not None:
            self._turn.cancel()
        self.site.left(self)

    def hang_up(self, answer: bytes = b"") -> None:
        """Close, with these last words."""
        self.transport.write(answer)
        self.loseConnection()

    def hang_up_when_idle(self) -> None:
        """Close after the answer to the request in progress, if there is one."""
        self.persistent = 0
        if not self.requests:
            self.hang_up()


class AdminSite(Site):
    """The factory of it all."""

    protocol: Any = AdminChannel
    requestFactory = AdminRequest
    displayTracebacks = False

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        limits: Limits,
        no_room: Callable[[], IProtocol],
    ) -> None:
        """
        Args:
            no_room: makes a protocol for a connection beyond the limit.
        """
        super().__init__(resource, timeout=REQUEST_TIME, reactor=clock)
        self._limits = limits
        self._no_room = no_room
        self.connections: set[AdminChannel] = set()
        self._empty: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._limits.called():
            return self._no_room()
        channel = super().buildProtocol(addr)
        self.connections.add(channel)
        return channel

    def log(self, request: object) -> None:
        """Requests are traffic, which is not logged."""

    def left(self, channel: AdminChannel) -> None:
        """A connection is no more."""
        self.connections.discard(channel)
        self._limits.hung_up()
        if self._empty is not None and not self.connections:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def close_all(self) -> Deferred[None]:
        """Close all connections, those with a request in progress after its answer.

        Returns:
            Fires when all are gone, CLOSE_TIME later at the latest.
        """
        if not self.connections:
            return succeed(None)
        self._empty = empty = Deferred[None]()
        timer = self.reactor.callLater(CLOSE_TIME, self._abort_all)

        def stop_timer(_: None) -> None:
            if timer.active():
                timer.cancel()

        empty.addCallback(stop_timer)
        for channel in tuple(self.connections):
            channel.hang_up_when_idle()
        return empty

    def _abort_all(self) -> None:
        for channel in tuple(self.connections):
            channel.transport.abortConnection()
