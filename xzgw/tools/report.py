"""Figures and verdicts about audio that went out and came back."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from xzgw.tools.device_voice import Heard


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent do not exceed; values must not be empty."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def milliseconds(name: str, seconds: Sequence[float]) -> str:
    """One line with the median, the 95th percentile and the maximum."""
    if not seconds:
        return f"{name:<18} nothing measured"
    p50, p95, top = (1000 * percentile(seconds, percent) for percent in (50, 95, 100))
    return f"{name:<18} p50 {p50:7.2f} ms   p95 {p95:7.2f} ms   max {top:7.2f} ms"


def faults(
    packets: Sequence[bytes], timestamps: Sequence[int], heard: Sequence[Heard]
) -> list[str]:
    """What is wrong with an echo, in plain sentences; empty when each packet came back intact.

    Args:
        packets, timestamps: what was spoken, in order; timestamps are distinct.
        heard: what came back.
    """
    spoken = dict(zip(timestamps, packets, strict=True))
    found = [f"{len(heard)} of {len(packets)} packets came back."] * (len(heard) != len(packets))
    strange = [one for one in heard if one.timestamp not in spoken]
    if strange:
        found.append(f"{len(strange)} packets came back with a timestamp that was never sent.")
    damaged = [one for one in heard if spoken.get(one.timestamp, one.opus) != one.opus]
    if damaged:
        found.append(f"{len(damaged)} packets came back damaged.")
    if [one.timestamp for one in heard] != sorted(one.timestamp for one in heard):
        found.append("The packets came back in another order.")
    if [one.sequence for one in heard] != list(range(1, len(heard) + 1)):
        found.append("The sequence numbers do not rise by one from 1.")
    return found
