"""Devices in memory behind the door that the admin API knocks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred, execute, fail

from xzgw.core import telemetry
from xzgw.core.door import (
    BackendState,
    BackendView,
    CallResult,
    CallStatus,
    Conflict,
    DeviceView,
    Filter,
    Limit,
    NoSuchBackend,
    NotConnected,
    Page,
    Presence,
    Remaining,
    Status,
)
from xzgw.core.mcp import McpClosed, McpError, McpTimeout
from xzgw.core.quality import Quality
from xzgw.core.sayings import say
from xzgw.core.totals import Totals
from xzgw.core.trace_types import (
    MAX_TRACES,
    NoSuchTrace,
    TooManyTraces,
    TraceForm,
    TraceOptions,
    TraceSlice,
    TraceState,
    TraceView,
)
from xzgw.wire.credentials import parse_client_id
from xzgw.wire.messages import Json

CLIENT_ID = "GID_test@@@a0_85_e3_f4_49_34@@@aeebef32-f0ef-4bce-9d8a-894d91bc6932"
ALIKE = "ws://192.0.2.1:8000/?token=***"  # how several servers are shown
SERVER = "ws://192.0.2.1:8000/xiaozhi/v1/?from=mqtt_gateway"
CONNECTED_AT = 1_769_860_740.0  # 2026-01-31T11:59:00Z

STATUS = Status(
    version="1.2.3",
    uptime=61.23456,
    devices=3,
    unauthenticated=2,
    sessions=1,
    api_connections=4,
    draining=False,
    stopping=True,
    troubles=(say("stopping"),),
    limits={"max_connections": Limit(50, 3), "max_connects_per_second": Limit(9)},
    refused={"max_connections": 7, "draining": 0},
    counts={"refused_wrong_token": 5, "events": 8},
    held={"timers": 6},
)

WELL = say("all_is_well")

Params = Mapping[str, Any] | None
Answer = Callable[[str, Params], Deferred[Any]]


def echo(method: str, params: Params) -> Deferred[Any]:
    """A device whose result is what it was asked."""
    return execute(lambda: {"method": method, "params": params})


def refuse(method: str, params: Params) -> Deferred[Any]:
    """A device that answers with an error."""
    return fail(McpError(method, "Unknown tool: self.fly"))


def stay_silent(method: str, params: Params) -> Deferred[Any]:
    """A device whose time is up."""
    return fail(McpTimeout(f"device did not answer {method} within 5 s"))


def leave(method: str, params: Params) -> Deferred[Any]:
    """A device that disconnects instead of answering."""
    return fail(McpClosed("device is gone: connection lost: secret internals"))


@dataclass(slots=True)
class MemoryDevice:
    """One connected device.

    Attributes:
        answer: what comes of a method and its params.
        pushed: the messages it got.
    """

    view: DeviceView
    answer: Answer = echo
    tools: Json = field(default_factory=lambda: {"tools": [], "complete": False, "status": "new"})
    pushed: list[Json] = field(default_factory=list)


def device(
    client_id: str = CLIENT_ID, presence: Presence = Presence.IDLE, answer: Answer = echo
) -> MemoryDevice:
    """A device with plausible members; `client_id` may be of any form."""
    group, mac, uuid = client_id.split("@@@") if client_id.count("@@@") == 2 else ("", "", "")
    up = say("mqtt_up", address="192.0.2.7", seconds=60)
    check = {"name": "mqtt", "state": "ok", "text": up, "parts": up.parts}
    view = DeviceView(
        client_id=client_id,
        group=group,
        mac=parse_client_id(client_id).mac if mac else "",
        uuid=uuid,
        presence=presence,
        mqtt={
            "connected_since": CONNECTED_AT,
            "last_seen": CONNECTED_AT + 60.25,
            "address": "192.0.2.7",
            "keep_alive": 240,
            "messages": 3,
            "messages_refused": 0,
            "messages_over_limit": 0,
        },
        session=None,
        udp=None,
        talk_seconds_today=0.0,
        tools={"count": 0, "complete": False, "status": "new"},
        diagnosis={"cause": None, "sentence": WELL, "parts": WELL.parts, "checks": [check]},
    )
    return MemoryDevice(view if presence is Presence.IDLE else _talking(view), answer)


def _talking(view: DeviceView) -> DeviceView:
    audio = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
    session = {
        "id": "s1",
        "server": SERVER,
        "since": CONNECTED_AT + 30,
        "device_audio": audio,
        "server_audio": None,
    }
    counts = {"packets": 5, "bytes": 900, "jitter_ms": 2.5, "gaps": 1, "longest_gap_ms": 250.0}
    old = {"late": 1, "duplicate": 0, "refused": 1, "refused_by": {"old_sequence": 1}}
    udp = {
        "address": "192.0.2.7:51234",
        "up": {**counts, **old, "lost": 1},
        "down": {**counts, "dropped": 0, "dropped_by": {}},
    }
    times = {
        "hello_to_reply_ms": 61.7,
        "hello_to_first_uplink_ms": None,
        "stop_to_first_audio_ms": 980.5,
        "stop_to_first_audio_worst_ms": 980.5,
        "turns": 1,
    }
    quality = telemetry.quality_told(Quality(4.4, say("nothing_disturbs")))
    talk = 30.50049
    return replace(
        view, session=session, udp=udp, times=times, quality=quality, talk_seconds_today=talk
    )


class MemoryDoor:
    """A core.door.Door.

    Attributes:
        devices: by client id.
        asked: client id, method, params and time of each command.
        looked_for: the filter, `after` and `limit` of each listing.
        calls: the arguments of each call request or acceptance.
        verdict: what the next calls come to.
        fault: raised by every method, if set.
        drained: how often that was asked for.
        traces: by client id.
        pieces: what all of them are read in, whatever their form.
        sums: what all sessions come to.
        servers: the chat servers by URL; one of them is there from the start.
    """

    def __init__(self, *devices: MemoryDevice) -> None:
        self.devices = {each.view.client_id: each for each in devices}
        self.asked: list[tuple[str, str, Params, float]] = []
        self.looked_for: list[tuple[Filter, str, int]] = []
        self.calls: list[tuple[str, ...]] = []
        self.verdict = CallResult(CallStatus.PENDING, "the other device is being called")
        self.fault: Exception | None = None
        self.drained = 0
        self.traces: dict[str, TraceView] = {}
        self.pieces = [b'{"kind":"trace"}\n']
        self.sums = Totals()
        up = BackendState.UP
        server = BackendView(SERVER, ("production",), 1, 0, 0, up, last_error="", next_try=None)
        self.servers = {SERVER: server}

    def find(self, client_id: str) -> Deferred[DeviceView]:
        return execute(lambda: self._get(client_id).view)

    def list(self, which: Filter, after: str, limit: int) -> Deferred[Page]:
        self.looked_for.append((which, after, limit))

        def look() -> Page:
            views = [self.devices[key].view for key in sorted(self.devices)]
            found = [view for view in views if which.presence in (None, view.presence)]
            page = [view for view in found if view.client_id > after]
            more = page[limit - 1].client_id if len(page) > limit else None
            return Page(tuple(page[:limit]), more, len(found))

        return execute(look)

    def presence(self, client_ids: Iterable[str]) -> Deferred[dict[str, Presence]]:
        connected = [each for each in client_ids if each in self.devices]
        return execute(lambda: {each: self.devices[each].view.presence for each in connected})

    def command(self, client_id: str, method: str, params: Params, timeout: float) -> Deferred[Any]:
        self.asked.append((client_id, method, params, timeout))
        if client_id not in self.devices:
            return fail(NotConnected("not here"))
        return self.devices[client_id].answer(method, params)

    def tools(self, client_id: str) -> Deferred[Json]:
        return execute(lambda: self._get(client_id).tools)

    def push(self, client_id: str, message: Json) -> Deferred[None]:
        return execute(lambda: self._get(client_id).pushed.append(message))

    def end_session(self, client_id: str) -> Deferred[None]:
        def end() -> None:
            each = self._get(client_id)
            if each.view.presence is Presence.IDLE:
                raise Conflict("no session is open")
            each.view = replace(each.view, presence=Presence.IDLE, session=None, udp=None)

        return execute(end)

    def disconnect(self, client_id: str) -> Deferred[None]:
        def close() -> None:
            del self.devices[self._get(client_id).view.client_id]

        return execute(close)

    def start_trace(self, client_id: str, options: TraceOptions) -> Deferred[TraceView]:
        def start() -> TraceView:
            self._get(client_id)
            if client_id in self.traces:
                raise Conflict("a trace of this device is running")
            if len(self.traces) >= MAX_TRACES:
                raise TooManyTraces("there are traces already")
            since, until = CONNECTED_AT, CONNECTED_AT + options.seconds
            running = TraceState.RUNNING
            view = TraceView(client_id, 7, running, "", since, until, options, 0, 0)
            return self.traces.setdefault(client_id, view)

        return execute(start)

    def trace(self, client_id: str) -> Deferred[TraceView]:
        return execute(self._trace, client_id)

    def read_trace(
        self, client_id: str, number: int, form: TraceForm, start: int
    ) -> Deferred[TraceSlice]:
        def read() -> TraceSlice:
            if self._trace(client_id).number != number:
                raise NoSuchTrace
            following = start + 1 if start + 1 < len(self.pieces) else None
            return TraceSlice(self.pieces[start], following)

        return execute(read)

    def forget_trace(self, client_id: str) -> Deferred[None]:
        def forget() -> None:
            del self.traces[self._trace(client_id).client_id]

        return execute(forget)

    def _trace(self, client_id: str) -> TraceView:
        if client_id not in self.traces:
            raise NoSuchTrace
        return self.traces[client_id]

    def request_call(self, caller_mac: str, target_mac: str, nickname: str) -> Deferred[CallResult]:
        self.calls.append((caller_mac, target_mac, nickname))
        return execute(lambda: self.verdict)

    def accept_call(self, mac: str) -> Deferred[CallResult]:
        self.calls.append((mac,))
        return execute(lambda: self.verdict)

    def status(self) -> Deferred[Status]:
        return execute(lambda: STATUS)

    def totals(self) -> Deferred[Totals]:
        return execute(self.sums.copy)

    def drain(self) -> Deferred[Remaining]:
        self.drained += 1
        return execute(lambda: Remaining(len(self.devices), 1))

    def backends(self) -> Deferred[tuple[BackendView, ...]]:
        return execute(lambda: tuple(self.servers.values()))

    def drain_backend(self, url: str, draining: bool) -> Deferred[None]:
        def drain() -> None:
            if url == ALIKE:
                raise Conflict("several chat servers are shown like this")
            if url not in self.servers:
                raise NoSuchBackend("no chat server has this address")
            state = BackendState.DRAINING if draining else BackendState.UP
            self.servers[url] = replace(self.servers[url], state=state)

        return execute(drain)

    def _get(self, client_id: str) -> MemoryDevice:
        if self.fault is not None:
            raise self.fault
        if client_id not in self.devices:
            raise NotConnected("not here")
        return self.devices[client_id]
