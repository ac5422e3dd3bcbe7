"""Putting load on a gateway, and reading what it costs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xzgw.tools.bench.figures import (
    MAX_SHARE,
    MAX_SKIPPED,
    Durations,
    Flow,
    Limits,
    Steps,
    Tally,
)
from xzgw.tools.bench.fleet import Fleet
from xzgw.tools.bench.gateway import cpu_seconds, machine_seconds, resident_kib
from xzgw.tools.bench.options import Plan
from xzgw.tools.bench.orders import Talk
from xzgw.tools.bench.ramp import Verdict
from xzgw.tools.steps import StepError

GRACE_SECONDS = 1.0  # that the load goes on after the window, whose frames may still arrive
_REHEARSAL_SECONDS = 0.3
_LEAD_SECONDS = 0.1
_LOOK_SECONDS = 0.25
_ARRIVE_SECONDS = 5.0  # until the sessions that devices have are the chat server's, too


class RefusedError(StepError):
    """Not all devices could be connected or have a session."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """One step of many devices, and what it cost the gateway; None where that is not known.

    Attributes:
        took: until the gateway's answer.
        cpu_us: the gateway's CPU time per device.
        kib: its growth in memory per device.
    """

    devices: int
    took: Durations
    cpu_us: float | None
    kib: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """Some seconds of audio.

    Attributes:
        gateway_share: CPU time of the gateway by time, 1 being one core; None if not known.
        fleet_shares: the same of each process of the bench.
        others: the same of all other programs on this machine.
    """

    devices: int
    seconds: float
    tally: Tally
    gateway_share: float | None
    fleet_shares: tuple[float, ...]
    others: float
    limits: Limits

    @property
    def arrived(self) -> int:
        """Frames, both directions."""
        return self.tally.up.arrived + self.tally.down.arrived

    @property
    def cpu_us(self) -> float | None:
        """The gateway's CPU time per frame that arrived."""
        if self.gateway_share is None or not self.arrived:
            return None
        return self.gateway_share * self.seconds * 1e6 / self.arrived

    @property
    def bench_lags(self) -> bool:
        """Whether the bench did not send what it should have sent, when it should have."""
        sent = self.tally.up.sent + self.tally.down.sent
        late = self.tally.late.percentile(99)
        skipped = self.tally.skipped > MAX_SKIPPED * sent
        return skipped or late is None or late > self.limits.late_ms

    @property
    def verdict(self) -> Verdict:
        """Whether that many devices were carried well, and if not, by whose fault."""
        tally = self.tally
        well = not tally.lost and self._well(tally.up) and self._well(tally.down)
        if well and not self.bench_lags:
            return Verdict.HOLDS
        if self.bench_lags or max(self.fleet_shares) > MAX_SHARE:
            return Verdict.BENCH
        return Verdict.GATEWAY

    def _well(self, flow: Flow) -> bool:
        p99 = flow.latency.percentile(99) or 0.0
        return (flow.loss or 0.0) <= self.limits.loss and p99 <= self.limits.p99_ms


class Bench:
    """A fleet and the gateway that it is let loose on. All steps raise StepError."""

    def __init__(
        self,
        fleet: Fleet,
        pids: Sequence[int],
        plan: Plan,
        check: Callable[[str], None],
    ) -> None:
        """
        Args:
            pids: the gateway's processes; none when they are not known.
            check: raises StepError, for a step's name, when the gateway has ended.
        """
        self._fleet = fleet
        self._pids = pids
        self._plan = plan
        self._check = check

    def memory(self) -> int | None:
        """The gateway's KiB of RAM."""
        return resident_kib(self._pids) if self._pids else None

    def connect(self, devices: int) -> Crowd:
        """Have so many devices connected. Raises RefusedError unless all are."""
        return self._crowd("connecting", lambda: self._fleet.connect(devices))

    def open(self, devices: int) -> Crowd:
        """Have a session for each of the devices, that many. Raises RefusedError unless all are."""
        crowd = self._crowd("opening sessions", self._fleet.open)
        self._wait_for_sessions(devices)
        return crowd

    def resize(self, devices: int) -> None:
        """Have so many devices with sessions, whatever there is. Raises RefusedError."""
        self._fleet.leave(devices)
        self._take("connecting", lambda: self._fleet.connect(devices))
        self._take("opening sessions", self._fleet.open)
        self._wait_for_sessions(devices)

    def leave(self) -> None:
        """Have all devices say goodbye."""
        self._fleet.leave(0)

    def rehearse(self, devices: int) -> None:
        """Have some devices come, talk and go, so that the gateway has everything once needed."""
        self.resize(devices)
        self.load(devices, 0.0, _REHEARSAL_SECONDS, grace=0.0)
        self.resize(0)

    def load(
        self, devices: int, warmup: float, seconds: float, grace: float = GRACE_SECONDS
    ) -> Load:
        """Have the devices, that many, talk; what is measured is the time after the warm-up."""
        start = time.monotonic() + _LEAD_SECONDS
        begin, end = start + warmup, start + warmup + seconds
        finish = end + grace
        times = (int(at * 1e9) for at in (start, begin, end, finish))
        talk = Talk(self._plan.up, self._plan.down, *times)
        readings: list[list[float]] = []

        def read() -> None:
            for at in (begin, end):
                self._sleep_until(at)
                each = [cpu_seconds([pid]) for pid in self._fleet.pids]
                readings.append([cpu_seconds(self._pids), *each, machine_seconds()])

        tally = self._fleet.talk(talk, read)
        self._check("audio")
        gateway, *fleet, machine = [(b - a) / seconds for a, b in zip(*readings, strict=True)]
        others = max(0.0, machine - gateway - sum(fleet))
        share = gateway if self._pids else None
        return Load(devices, seconds, tally, share, tuple(fleet), others, self._plan.limits)

    def _crowd(self, name: str, step: Callable[[], Steps]) -> Crowd:
        cpu, memory = cpu_seconds(self._pids), self.memory()
        steps = self._take(name, step)
        self._sleep_until(time.monotonic() + self._plan.settle)
        count = max(1, steps.done)
        if not self._pids or memory is None:
            return Crowd(steps.done, steps.took, None, None)
        cpu_us = (cpu_seconds(self._pids) - cpu) * 1e6 / count
        return Crowd(steps.done, steps.took, cpu_us, (resident_kib(self._pids) - memory) / count)

    def _take(self, name: str, step: Callable[[], Steps]) -> Steps:
        steps = step()
        self._check(name)
        if steps.failed:
            raise RefusedError(f"{name}: {_reasons(steps.failed)}")
        return steps

    def _wait_for_sessions(self, wanted: int) -> None:
        deadline = time.monotonic() + _ARRIVE_SECONDS
        while (found := self._fleet.sessions()) != wanted:
            self._check("sessions")
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"sessions: the devices have {wanted}, the bench's chat server has {found};"
                    " it must be the gateway's only one"
                )
            time.sleep(_LOOK_SECONDS)

    def _sleep_until(self, at: float) -> None:
        while (left := at - time.monotonic()) > 0:
            self._check("waiting")
            time.sleep(min(left, _LOOK_SECONDS))


def _reasons(failed: Counter[str]) -> str:
    """The most frequent reasons, and how many devices each stopped."""
    return "; ".join(f"{count} x {reason}" for reason, count in failed.most_common(3))
