"""Traces of devices: started, handed out in slices, forgotten."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from xzgw.admin.bodies import read_object
from xzgw.admin.problems import Refusal, reply
from xzgw.admin.queries import Query
from xzgw.admin.views import rfc3339
from xzgw.core.door import Door
from xzgw.core.trace_types import (
    LEAST_BYTES,
    MAX_BYTES,
    MAX_SECONDS,
    SECONDS,
    NoSuchTrace,
    TraceForm,
    TraceOptions,
    TraceView,
)
from xzgw.wire.messages import Json

CONTENT_TYPES: Final = {
    TraceForm.JSONL: "application/x-ndjson",
    TraceForm.PCAP: "application/vnd.tcpdump.pcap",
}
_MEMBERS: Final = ("seconds", "audio", "max_bytes")


async def start(door: Door, request: Request, client_id: str) -> bytes:
    """POST: begin one."""
    view = await door.start_trace(client_id, _options(read_object(request)))
    return reply(request, _shown(view), 201)


async def read(door: Door, request: Request, client_id: str) -> None:
    """GET: all that is recorded so far, as fast as the caller takes it."""
    form = _form(Query(request, "format").text("format"))
    view = await door.trace(client_id)
    piece = await door.read_trace(client_id, view.number, form, 0)
    request.setHeader("Content-Type", CONTENT_TYPES[form])
    name = f"trace.{form.value}"
    request.setHeader("Content-Disposition", f'attachment; filename="{name}"')
    flow = _Flow()
    request.registerProducer(flow, True)
    try:
        request.write(piece.data)
        while piece.following is not None:
            await flow.open()
            piece = await door.read_trace(client_id, view.number, form, piece.following)
            request.write(piece.data)
    except NoSuchTrace:  # forgotten meanwhile: what is there so far must not look like all of it
        transport: Any = request.transport
        transport.abortConnection()
        await Deferred[None]()  # the end of the connection cancels this
    request.unregisterProducer()


@implementer(IPushProducer)
class _Flow:
    """Whether the caller takes more."""

    def __init__(self) -> None:
        self._paused = False
        self._waiting: Deferred[None] | None = None

    def open(self) -> Deferred[None]:
        """Fires when there is room."""
        waiting: Deferred[None] = Deferred()
        if self._paused:
            self._waiting = waiting
        else:
            waiting.callback(None)
        return waiting

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The caller is gone, for which the request is cancelled."""
        self._waiting = None


def _options(body: Json) -> TraceOptions:
    if not set(body) <= set(_MEMBERS):
        raise Refusal(400, f"members here are {', '.join(_MEMBERS)} only")
    audio = body.get("audio", False)
    if not isinstance(audio, bool):
        raise Refusal(400, "audio must be true or false")
    return TraceOptions(
        _number(body, "seconds", 1, MAX_SECONDS, SECONDS),
        audio,
        _number(body, "max_bytes", LEAST_BYTES, MAX_BYTES, MAX_BYTES),
    )


def _number(body: Json, name: str, low: int, high: int, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of numbers only
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(400, f"{name} must be a whole number from {low} to {high}")
    return value


def _form(text: str | None) -> TraceForm:
    if text is None:
        return TraceForm.JSONL
    try:
        return TraceForm(text)
    except ValueError:
        raise Refusal(400, f"format must be one of {', '.join(TraceForm)}") from None


def _shown(view: TraceView) -> Json:
    return {
        "client_id": view.client_id,
        "state": view.state.value,
        "reason": view.reason or None,
        "since": rfc3339(view.since),
        "until": rfc3339(view.until),
        "seconds": view.options.seconds,
        "audio": view.options.audio,
        "max_bytes": view.options.max_bytes,
        "records": view.records,
        "bytes": view.used,
    }
