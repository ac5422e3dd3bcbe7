"""What a measurement counts, in one process and summed over several."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MAX_SHARE = 0.95  # of a core that a process of the fleet may need
MAX_SKIPPED = 0.001  # of all frames, which the bench may fail to send

_FINE = 10_000  # ns; grain of durations below _COARSE_FROM
_COARSE = 1_000_000  # ns; grain of longer ones
_COARSE_FROM = 100_000_000  # ns
_FINE_SLOTS = _COARSE_FROM // _FINE


class Durations:
    """Any number of durations in bounded room: 10 us fine up to 100 ms, then 1 ms."""

    __slots__ = ("counts", "longest", "number")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.longest = 0  # ns
        self.number = 0

    def add(self, nanoseconds: int) -> None:
        """Count one, not negative."""
        self.number += 1
        if nanoseconds > self.longest:
            self.longest = nanoseconds
        if nanoseconds < _COARSE_FROM:
            self.counts[nanoseconds // _FINE] += 1
        else:
            self.counts[_FINE_SLOTS + (nanoseconds - _COARSE_FROM) // _COARSE] += 1

    def merge(self, other: Durations) -> None:
        """Add all that the other counted."""
        self.counts.update(other.counts)
        self.longest = max(self.longest, other.longest)
        self.number += other.number

    def percentile(self, percent: float) -> float | None:
        """Milliseconds that at least so many percent do not exceed, grain rounded up; or None."""
        if not self.number:
            return None
        wanted = self.number * percent / 100
        seen = 0
        for slot in sorted(self.counts):
            seen += self.counts[slot]
            if seen >= wanted:
                return min(_end(slot), self.longest) / 1e6
        return self.longest / 1e6


def _end(slot: int) -> int:
    """Nanoseconds where a slot's durations end."""
    if slot < _FINE_SLOTS:
        return (slot + 1) * _FINE
    return _COARSE_FROM + (slot + 1 - _FINE_SLOTS) * _COARSE


@dataclass(slots=True)
class Flow:
    """Audio in one direction.

    Attributes:
        sent: frames that were sent within the window.
        arrived: those of them that came, in order and as they were sent.
        damaged: frames that came otherwise than they were sent, at any time.
        latency: of those that arrived.
    """

    sent: int = 0
    arrived: int = 0
    damaged: int = 0
    latency: Durations = field(default_factory=Durations)

    @property
    def loss(self) -> float | None:
        """Share that did not arrive; None when nothing was sent."""
        return (self.sent - self.arrived) / self.sent if self.sent else None

    def merge(self, other: Flow) -> None:
        """Add the other's frames, which may have been sent here and have arrived there."""
        self.sent += other.sent
        self.arrived += other.arrived
        self.damaged += other.damaged
        self.latency.merge(other.latency)


@dataclass(slots=True)
class Tally:
    """One window of load.

    Attributes:
        up, down: device to server, server to device.
        late: how long after their time frames were sent: the bench's own delay.
        skipped: frames not sent at all, as they were late by more than their own duration.
        lost: why connections and sessions ended, and how many did.
    """

    up: Flow = field(default_factory=Flow)
    down: Flow = field(default_factory=Flow)
    late: Durations = field(default_factory=Durations)
    skipped: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    def merge(self, other: Tally) -> None:
        """Add what another process saw in the same window."""
        self.up.merge(other.up)
        self.down.merge(other.down)
        self.late.merge(other.late)
        self.skipped += other.skipped
        self.lost.update(other.lost)


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as carried well, in each direction by itself.

    Attributes:
        loss: share of the frames that may be lost.
        p99_ms: latency that 99 % of the frames may have.
    """

    loss: float = 0.005
    p99_ms: float = 100.0

    @property
    def late_ms(self) -> float:
        """How late the bench may send 99 % of its frames, or the latencies say little."""
        return self.p99_ms / 5


@dataclass(slots=True)
class Steps:
    """One step that many devices took: how many did, how long each took, why others could not."""

    done: int = 0
    took: Durations = field(default_factory=Durations)
    failed: Counter[str] = field(default_factory=Counter)

    def merge(self, other: Steps) -> None:
        """Add the devices of another process."""
        self.done += other.done
        self.took.merge(other.took)
        self.failed.update(other.failed)
