"""The largest number of devices that is carried well, and what set the limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

TRIES = 2  # of a number of devices: one stall of a shared machine must not end the ramp
_FINENESS = 20  # the answer is at most a twentieth too small


class Verdict(Enum):
    """How one load went."""

    HOLDS = "holds"
    GATEWAY = "the gateway was the limit"
    BENCH = "the bench itself was the limit"


@dataclass(frozen=True, slots=True)
class Found:
    """What a ramp found.

    Attributes:
        devices: the largest number that was carried well; 0 if none was.
        limit: why more were not; HOLDS when the largest number allowed was carried.
        exceeded: the smallest number that was not carried well.
    """

    devices: int
    limit: Verdict
    exceeded: int | None


def search(start: int, most: int, measure: Callable[[int], Verdict]) -> Found:
    """Double from the start until it no longer holds, then halve the gap; `most` is the end."""
    holds, exceeded, limit = 0, None, Verdict.HOLDS
    number = min(start, most)
    while True:
        verdict = _measured(number, measure)
        if verdict is Verdict.HOLDS:
            holds = number
        else:
            exceeded, limit = number, verdict
        if exceeded is None:
            if holds == most:
                return Found(holds, limit, None)
            number = min(2 * holds, most)
        elif exceeded - holds <= max(1, holds // _FINENESS):
            return Found(holds, limit, exceeded)
        else:
            number = (holds + exceeded) // 2


def _measured(number: int, measure: Callable[[int], Verdict]) -> Verdict:
    for _ in range(TRIES):
        verdict = measure(number)
        if verdict is Verdict.HOLDS:
            break
    return verdict
