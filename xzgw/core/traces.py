"""All traces of this gateway: a few, for a bounded time, and kept for some minutes after that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xzgw.core.channel import AudioChannel
from xzgw.core.device_peer import Peer
from xzgw.core.door import Conflict
from xzgw.core.events import Event, Events
from xzgw.core.link import Link
from xzgw.core.ports import Receiver, VoicePort
from xzgw.core.session_types import DeviceLost, Gone
from xzgw.core.trace import FULL, INSIDE, Trace
from xzgw.core.trace_tap import Tap
from xzgw.core.trace_types import (
    KEPT,
    MAX_TRACES,
    NoSuchTrace,
    TooManyTraces,
    TraceForm,
    TraceOptions,
    TraceSlice,
    TraceView,
)
from xzgw.wire.packets import Packet

TIME_IS_UP = "its time is up"
_SHOWN = 80  # characters of a client id


class Traces:
    """See the module's text.

    Attributes:
        running: by client id. Whoever has something to tell looks first whether it is empty.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], float],
        events: Events,
        channels: dict[int, Receiver],
        voice: VoicePort,
    ) -> None:
        """
        Args:
            now: unix time.
            channels, voice: for Tap.
        """
        self.running: dict[str, Tap] = {}
        self._known: dict[str, Trace] = {}  # the running ones, too
        self._timers: dict[str, IDelayedCall] = {}
        self._clock = clock
        self._now = now
        self._events = events
        self._channels = channels
        self._voice = voice
        self._unsubscribe: Callable[[], None] | None = None
        self._number = 0

    # --- for the operator ---

    def start(self, client_id: str, options: TraceOptions) -> TraceView:
        """Record a device, connected or not; one of it that has ended is forgotten.

        Raises:
            Conflict: one is running.
            TooManyTraces: of other devices.
        """
        if client_id in self.running:
            raise Conflict("a trace of this device is running; DELETE ends it")
        others = [known for known in self._known if known != client_id]
        if len(others) >= MAX_TRACES:
            names = ", ".join(other[:_SHOWN] for other in others)
            raise TooManyTraces(f"there are traces already, DELETE one: {names}")
        if client_id in self._known:
            self.forget(client_id)
        self._number += 1
        full = partial(self._end, client_id, FULL)
        trace = Trace(client_id, self._number, options, self._now, full)
        self._known[client_id] = trace
        self.running[client_id] = Tap(trace, self._channels, self._voice)
        self._after(client_id, options.seconds, partial(self._end, client_id, TIME_IS_UP))
        if self._unsubscribe is None:
            self._unsubscribe = self._events.subscribe(self._happened)
        self._log.info(
            "trace of {client} for {seconds} s, {audio} audio",
            client=client_id,
            seconds=options.seconds,
            audio="with" if options.audio else "without",
        )
        return trace.view()

    def view(self, client_id: str) -> TraceView:
        """The trace of a device. Raises NoSuchTrace."""
        return self._get(client_id).view()

    def slice(self, client_id: str, number: int, form: TraceForm, start: int) -> TraceSlice:
        """Some of a trace; see Trace.slice. Raises NoSuchTrace."""
        trace = self._get(client_id)
        if trace.number != number:
            raise NoSuchTrace
        return trace.slice(form, start)

    def forget(self, client_id: str) -> None:
        """End it, and forget what it has. Raises NoSuchTrace."""
        self._get(client_id)
        if client_id in self.running:
            self._end(client_id, "forgotten")
        del self._known[client_id]
        self._timers.pop(client_id).cancel()

    def stop(self) -> None:
        """The gateway stops: forget all."""
        for client_id in tuple(self._known):
            self.forget(client_id)

    # --- from the gateway, while some are running ---

    def packet(self, client_id: str, way: str, packet: Packet) -> None:
        """An MQTT control packet of, or for, who has this client id or says so."""
        tap = self.running.get(client_id)
        if tap is not None:
            tap.trace.packet(way, packet)

    def step(
        self,
        peer: Peer,
        event: object,
        state: object,
        link: Link | None,
        channel: AudioChannel | None,
    ) -> None:
        """What a device's session is now.

        Args:
            event: what it has taken, None if nothing.
            state: of the session machine.
            link, channel: what it has.
        """
        tap = self.running.get(peer.client_id)
        late = isinstance(state, Gone) and not isinstance(event, DeviceLost)
        if tap is not None and not late:  # news of a connection before would hide the present one
            tap.follow(peer, link, channel)
            tap.trace.session(event, state)

    def _happened(self, event: Event) -> None:
        for name in ("client_id", "caller"):
            tap = self.running.get(str(event.data.get(name)))
            if tap is not None:
                tap.trace.note("event", INSIDE, event=event.kind, data=event.data)

    # --- time ---

    def _end(self, client_id: str, reason: str) -> None:
        tap = self.running.pop(client_id)
        tap.release()
        tap.trace.end(reason)
        self._after(client_id, KEPT, partial(self._expired, client_id))
        if not self.running and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _expired(self, client_id: str) -> None:
        del self._known[client_id], self._timers[client_id]

    def _after(self, client_id: str, seconds: float, act: Callable[[], None]) -> None:
        timer = self._timers.get(client_id)
        if timer is not None and timer.active():
            timer.cancel()
        self._timers[client_id] = self._clock.callLater(seconds, act)

    def _get(self, client_id: str) -> Trace:
        trace = self._known.get(client_id)
        if trace is None:
            raise NoSuchTrace
        return trace
