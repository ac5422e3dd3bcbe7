"""What a gateway process has at one moment, and whether it has given back what it took."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from xzgw.wire.messages import Json


@dataclass(frozen=True, slots=True)
class Levels:
    """One look: at /proc, and at `GET /v1/status`. The names are those of the table's rows.

    Attributes:
        memory_kib: VmRSS.
        descriptors: of files, those of the connection that asked for the status included.
    """

    memory_kib: int
    descriptors: int
    threads: int
    timers: int
    devices: int
    unauthenticated: int
    sessions: int
    channels: int
    in_calls: int
    mcp_requests: int
    servers: int
    event_readers: int
    api_connections: int


NAMES = tuple(field.name for field in fields(Levels))
# KiB that may be more in the end than at rest after the warm-up; all else must be the same or less.
# An allocator takes pages as it likes, and garbage in cycles waits for its collector. In half an
# hour some 40,000 connections and as many sessions pass, so a leak of 100 bytes each would show.
# It takes ten minutes, the warm-up of half an hour, until the memory is at rest; before that only
# a large leak can be told.
MEMORY = 4 * 1024
MEMORY_EARLY = 24 * 1024
LONG = 30.0  # minutes from which on the former counts


def look(pid: int, status: Json) -> Levels:
    """Levels of a process.

    Args:
        status: what it has answered to `GET /v1/status`, just now.
    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = dict(re.findall(r"(VmRSS|Threads):\s+(\d+)", text))
    told = {**status, **status["held"]}
    own = {
        "memory_kib": int(found["VmRSS"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(found["Threads"]),
    }
    return Levels(**own, **{name: told[name] for name in NAMES if name not in own})


def leaks(before: Levels, after: Levels, memory_kib: int = MEMORY) -> list[str]:
    """What has not gone back to where it was, a line each; of memory, so much more is allowed."""
    more = {"memory_kib": memory_kib}
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in NAMES)
    return [
        f"{name}: {now:,}, {then:,} before, {more.get(name, 0):,} more are allowed"
        for name, then, now in pairs
        if now > then + more.get(name, 0)
    ]


def table(columns: Sequence[tuple[str, Levels]]) -> list[str]:
    """Lines with a row for each name, in Markdown."""
    heads = [head for head, _ in columns]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for name in NAMES:
        values = (f"{getattr(levels, name):,}" for _, levels in columns)
        lines.append(f"| {name} | {' | '.join(values)} |")
    return lines


def line(minute: float, levels: Levels) -> str:
    """All of it in one line."""
    values = " ".join(f"{name}={getattr(levels, name)}" for name in NAMES)
    return f"{minute:6.1f} min {values}"
