"""The log as JSON, one object a line: `twistd -n --logger xzgw.logs.json_lines xzgw`."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from typing import BinaryIO

from twisted.logger import ILogObserver, LogEvent, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from xzgw.wire.messages import Json, encode

DEPTH = 4  # of objects and lists in an event's fields
# What twisted.python.log adds for observers of its own kind.
_LEGACY = frozenset({"format", "isError", "printed", "system"})


def json_lines() -> JsonLines:
    """The observer that twistd asks for; it writes to standard output."""
    # Taken now: once logging begins, sys.stdout itself leads into the log.
    return JsonLines(sys.stdout.buffer)


@implementer(ILogObserver)
class JsonLines:
    """Writes each event as one line of UTF-8 JSON.

    `time` (ISO 8601, UTC, ms), `level`, `namespace` and `message` come first, then `failure`, a
    traceback, if there is one, then the event's own plain fields. An event with a field `json` is
    for logs of text: one before it has the same as its fields.
    """

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def __call__(self, event: LogEvent) -> None:
        if "json" in event:
            return
        self._output.write(encode(_record(event)) + b"\n")
        self._output.flush()


def _record(event: LogEvent) -> Json:
    at = datetime.fromtimestamp(event["log_time"], UTC)
    record: Json = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event["log_level"].name,
        "namespace": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        record["failure"] = failure.getTraceback()
    fields = {
        name: value
        for name, value in event.items()
        if not name.startswith("log_") and name not in _LEGACY and _is_plain(value, DEPTH)
    }
    return {**record, **{name: fields[name] for name in fields if name not in record}}


def _is_plain(value: object, depth: int) -> bool:
    """Whether JSON can hold it: a text, a number, or such in objects and lists, `depth` deep."""
    if isinstance(value, float):
        return math.isfinite(value)  # JSON has no other
    if isinstance(value, dict) and depth:
        names, values = value.keys(), value.values()
        return all(isinstance(name, str) for name in names) and all(
            inner is None or _is_plain(inner, depth - 1) for inner in values
        )
    if isinstance(value, list) and depth:
        return all(inner is None or _is_plain(inner, depth - 1) for inner in value)
    return isinstance(value, str | int)
