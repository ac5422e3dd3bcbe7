"""One thread, many sockets, and the pace at which they send.

Bare epoll: a reactor's work per event would be a good part of what a frame costs the bench.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from time import monotonic_ns

from xzgw.tools.bench.figures import Flow, Tally
from xzgw.tools.bench.orders import Talk

Handler = Callable[[int], None]
Speak = Callable[[int], None]  # sends one frame that says it was sent at this time (ns)

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Loop:
    """Calls whoever watches a descriptor, with epoll's events."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Begin, or go on with other events or another handler."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """End; to be called before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def turn(self, seconds: float) -> None:
        """Wait for the first event, that long at most, and handle all that are there."""
        handlers = self._handlers
        for descriptor, events in self._epoll.poll(max(0.0, seconds)):
            handler = handlers.get(descriptor)
            if handler is not None:  # else an earlier event's handler has closed it
                handler(events)


class Pace:
    """Makes all streams speak in turn, evenly spaced over a frame's duration."""

    def __init__(
        self,
        streams: Sequence[tuple[Speak, Flow]],
        talk: Talk,
        frame_ms: int,
        tally: Tally,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._streams = streams
        self._talk = talk
        self._frame = frame_ms * 1_000_000
        self._tally = tally
        self._now = now
        self._number = 0  # of the next frame of all

    def _due(self, number: int) -> int:
        return self._talk.start + number * self._frame // len(self._streams)

    def wait(self) -> float:
        """Seconds until there is something to do, or until the end."""
        following = self._due(self._number) if self._streams else self._talk.finish
        return (min(following, self._talk.finish) - self._now()) / 1e9

    def run(self) -> None:
        """Send what is due by now."""
        if not self._streams:
            return
        now = self._now()
        late = now - self._due(self._number) - self._frame
        if late > 0:
            self._skip(now - self._frame)
        streams, size, tally = self._streams, len(self._streams), self._tally
        begin, end = self._talk.begin, self._talk.end
        while (due := self._due(self._number)) <= now:
            speak, flow = streams[self._number % size]
            self._number += 1
            stamp = self._now()
            if begin <= stamp < end:
                flow.sent += 1
                tally.late.add(stamp - due)
            speak(stamp)

    def _skip(self, until: int) -> None:
        """Leave out the frames that were due before that time (ns)."""
        while (due := self._due(self._number)) < until:
            self._number += 1
            self._tally.skipped += self._talk.begin <= due < self._talk.end
