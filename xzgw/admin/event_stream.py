"""`GET /v1/events`: what happens, as server-sent events, to readers that keep up.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.http import Request
from zope.interface import implementer

from xzgw.core.events import GAP, KINDS, Event, Events
from xzgw.wire import messages
from xzgw.wire.addresses import short_ip

HEARTBEAT = 15.0  # s
MOST_READERS = 100
MOST_WAITING = 256 * 1024  # bytes for one reader


class UnknownKinds(Exception):
    """The query asks for kinds of events that do not exist (400). str() says which."""


class TooManyReaders(Exception):
    """No place for another reader (503).

    Attributes:
        retry_after: s.
    """

    retry_after = 30

    def __init__(self) -> None:
        super().__init__(f"there are {MOST_READERS} readers already")


class EventStream:
    """All readers. It subscribes to the events while there are any."""

    def __init__(self, events: Events, clock: IReactorTime) -> None:
        self._events = events
        self._clock = clock
        self._readers: list[_Reader] = []
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def readers(self) -> int:
        """How many there are."""
        return len(self._readers)

    def serve(self, request: Request) -> Deferred[None]:
        """Answer a request with the stream.

        Returns:
            Fires when the stream is over, because the reader is gone, or because of `close` or
            cancelling; then the caller has to finish the request. For HEAD it has fired.
        Raises:
            UnknownKinds, TooManyReaders: nothing is written yet.
        """
        kinds = _kinds(request)
        if len(self._readers) >= MOST_READERS:
            raise TooManyReaders
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("X-Accel-Buffering", "no")  # nginx would hold events back
        if request.method == b"HEAD":
            return succeed(None)
        last_id = _last_id(request)
        missed = self._events.resume(last_id) if last_id else []
        reader = _Reader(request, self._clock, kinds, self._position, self._leave)
        self._join(reader)
        return reader.start(self._block(event) for event in missed if reader.wants(event.kind))

    def close(self) -> None:
        """End all streams."""
        for reader in tuple(self._readers):
            reader.close()

    def _join(self, reader: _Reader) -> None:
        self._readers.append(reader)
        if self._unsubscribe is None:
            self._unsubscribe = self._events.subscribe(self._tell)

    def _leave(self, reader: _Reader) -> None:
        self._readers.remove(reader)
        if not self._readers and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _tell(self, event: Event) -> None:
        block = self._block(event)
        for reader in tuple(self._readers):
            if reader.wants(event.kind):
                reader.send(block)

    def _block(self, event: Event) -> bytes:
        head = f"id: {self._events.id_of(event)}\nevent: {event.kind}\ndata: "
        return head.encode() + messages.encode(self._events.describe(event)) + b"\n\n"

    def _position(self) -> bytes:
        """Without data it makes no event, but clients resume from this id."""
        return f": still here\nid: {self._events.last_id}\n\n".encode()


@implementer(IPushProducer)
class _Reader:
    """One reader. What it does not take waits here, up to MOST_WAITING."""

    _log = Logger()

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        kinds: frozenset[str],
        position: Callable[[], bytes],
        leave: Callable[[_Reader], None],
    ) -> None:
        """
        Args:
            kinds: of events to send, empty for all.
            position: tells the reader where in the events it is.
            leave: called once, when nothing more is to be sent.
        """
        self._request = request
        self._kinds = kinds
        self._position = position
        self._leave = leave
        self._gone: Deferred[None] = Deferred(lambda _: self.close())
        self._here = True
        self._paused = False
        self._stuck = False  # whether the last heartbeat found it paused
        self._missed: Iterator[bytes] = iter(())
        self._waiting: deque[bytes] = deque()
        self._size = 0  # bytes waiting
        self._heart = LoopingCall(self._beat)
        self._heart.clock = clock

    def start(self, missed: Iterable[bytes]) -> Deferred[None]:
        """Send what it missed, then where that ends.

        Args:
            missed: taken as the reader takes them, so they do not count as waiting.
        """
        self._missed = iter(missed)
        self._request.notifyFinish().addBoth(self._finished)
        self._request.registerProducer(self, True)
        self._heart.start(HEARTBEAT, now=False)
        self.send(self._position())
        return self._gone

    def wants(self, kind: str) -> bool:
        return not self._kinds or kind in self._kinds or kind == GAP

    def send(self, block: bytes) -> None:
        """Write it, or let it wait for its turn."""
        self._waiting.append(block)
        self._size += len(block)
        self._flush()
        if self._size > MOST_WAITING:
            self._drop(f"{self._size} bytes are waiting for it")

    def close(self) -> None:
        """End the stream, in order if the reader is keeping up."""
        if not self._here:
            return
        if self._paused:
            self._abort()
        else:
            self._end()
            self._request.unregisterProducer()
            self._gone.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = self._stuck = False
        self._flush()

    def stopProducing(self) -> None:
        self._paused = True

    def _flush(self) -> None:
        while self._here and not self._paused:
            block = next(self._missed, None)
            if block is None:
                if not self._waiting:
                    return
                block = self._waiting.popleft()
                self._size -= len(block)
            self._request.write(block)

    def _beat(self) -> None:
        """Shows that we are here, and finds out whether the reader is."""
        if not self._paused:
            self.send(self._position())
        elif self._stuck:
            self._drop(f"it has taken nothing for {HEARTBEAT:g} s")
        else:
            self._stuck = True

    def _drop(self, why: str) -> None:
        peer = short_ip(getattr(self._request.getClientAddress(), "host", "local"))
        self._log.warn("dropping a reader of events, {peer}: {why}", peer=peer, why=why)
        self._abort()

    def _abort(self) -> None:
        self._end()
        transport: Any = self._request.transport
        transport.abortConnection()

    def _end(self) -> None:
        """Nothing is sent from here on."""
        self._here = False
        self._heart.stop()
        self._missed = iter(())
        self._waiting.clear()
        self._size = 0
        self._leave(self)

    def _finished(self, _: object) -> None:
        if self._here:
            self._end()
        if not self._gone.called:
            self._gone.callback(None)


def _last_id(request: Request) -> str:
    """What the reader says it got last; empty if nothing."""
    query: list[bytes] = request.args.get(b"last_event_id", [])
    given = request.getHeader(b"last-event-id") or (query[-1] if query else b"")
    return given.decode("utf-8", "replace")


def _kinds(request: Request) -> frozenset[str]:
    given = b",".join(request.args.get(b"kinds", [])).decode("utf-8", "replace")
    kinds = frozenset(kind.strip() for kind in given.split(",")) - {""}
    unknown = sorted(kinds.difference(KINDS))
    if unknown:
        raise UnknownKinds(f"no such kinds of events: {', '.join(unknown)[:200]}")
    return kinds
