"""Traces of devices as the door to them speaks of them: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from twisted.internet.defer import Deferred

MAX_TRACES: Final = 4  # running or kept
MAX_SECONDS: Final = 600
SECONDS: Final = 60  # unless another time is asked for
LEAST_BYTES: Final = 64 * 1024
MAX_BYTES: Final = 8 * 1024 * 1024  # of memory, for each
KEPT: Final = 600  # s after its end


class NoSuchTrace(Exception):
    """There is none of this device, or it has been replaced by another one."""


class TooManyTraces(Exception):
    """There is no room for another one. str() says which there are."""


class TraceState(StrEnum):
    RUNNING = "running"
    ENDED = "ended"


class TraceForm(StrEnum):
    """How it is handed out."""

    JSONL = "jsonl"  # a JSON object a line
    PCAP = "pcap"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What to record.

    Attributes:
        seconds: how long, 1 to MAX_SECONDS.
        audio: whether with what is said.
        max_bytes: of memory, LEAST_BYTES to MAX_BYTES, after which it ends.
    """

    seconds: int = SECONDS
    audio: bool = False
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class TraceView:
    """One trace.

    Attributes:
        number: tells it from others of this device.
        reason: why it has ended; empty while it runs.
        since, until: unix time of its beginning, and of its end or latest end.
        records: how many it has.
        used: bytes of memory.
    """

    client_id: str
    number: int
    state: TraceState
    reason: str
    since: float
    until: float
    options: TraceOptions
    records: int
    used: int


@dataclass(frozen=True, slots=True)
class TraceSlice:
    """Some of a trace's bytes, and where the next ones start; None if these are the last."""

    data: bytes
    following: int | None


class TraceDoor(Protocol):
    """The part of core.door.Door that traces are asked for at."""

    def start_trace(self, client_id: str, options: TraceOptions) -> Deferred[TraceView]:
        """Record a device, be it connected or not.

        Fails with NotConnected when no device can have this client id; with Conflict when a trace
        of it is running; with TooManyTraces.
        """

    def trace(self, client_id: str) -> Deferred[TraceView]:
        """The trace of a device, running or not. Fails with NoSuchTrace."""

    def read_trace(
        self, client_id: str, number: int, form: TraceForm, start: int
    ) -> Deferred[TraceSlice]:
        """Some of this trace: `start` is 0, then what the slice before says.

        Fails with NoSuchTrace.
        """

    def forget_trace(self, client_id: str) -> Deferred[None]:
        """End the trace of a device, if it runs, and forget it. Fails with NoSuchTrace."""
