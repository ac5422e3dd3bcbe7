"""How good a session's audio is, as one number: docs/telemetry.md has the rule and its limits.

From 93.2 points, the most that the E-model gives, are taken off what loss, jitter, gaps and slow
answers are worth; its curve makes a score of 1 to 4.4 of what is left.

Source: ITU-T G.107, the effective equipment impairment (loss) and annex B (score); Cole and
Rosenbluth, Voice over IP performance monitoring (delay). The rest is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from xzgw.core.audio_stats import Stats
from xzgw.core.jitter import Jitter
from xzgw.core.sayings import Saying, say

BEST = 93.2  # points
LOSS_ROBUSTNESS = 0.10  # share of packets whose loss takes half of LOSS_WORST
LOSS_WORST = 95.0  # points
LEAST_PACKETS = 50  # that shares are reckoned of: one lost of the first three tells little
GAPS_WORST = 40.0  # points; half of them for a tenth of the time
DELAY_KNEE = 0.1773  # s; beyond, delay is felt
ANSWER_FREE = 1.5  # s
ANSWER_POINTS = 10.0  # for each second more
ANSWER_WORST = 40.0
NOTICED = 2.0  # points below which nothing is worth a word
FRAME = 0.06  # s


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a session's audio.

    Attributes:
        packets: that arrived.
        missed: that did not, or in vain.
        jitter, gap_seconds: s.
    """

    packets: int
    missed: int
    jitter: float
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Quality:
    """The score, 1 to 5 with one decimal, and what takes off most of it."""

    score: float
    why: Saying


@dataclass(frozen=True, slots=True)
class Fault:
    """Points to take off, and how to say why."""

    points: float
    said: Callable[[], Saying]


def uplink(stats: Stats, jitter: Jitter, unsent: int) -> Direction:
    """From the device; `unsent` packets its server was too slow for."""
    missed = stats.lost + stats.late + unsent
    return Direction(stats.forwarded - unsent, missed, jitter.seconds, jitter.gap_seconds)


def downlink(stats: Stats, jitter: Jitter) -> Direction:
    """To the device. What gets lost on the way there nobody tells us."""
    return Direction(stats.sent_packets, stats.dropped, jitter.seconds, jitter.gap_seconds)


def rate(up: Direction, down: Direction, answer: float | None) -> Quality | None:
    """
    Args:
        answer: mean s from the end of speech to the first audio back; None: no turn yet.
    Returns:
        None without any audio.
    """
    if not up.packets and not down.packets:
        return None
    # The worse direction counts, not both: one listens to one of them at a time.
    pairs = zip(_faults(up, True), _faults(down, False), strict=True)
    faults = [*map(_worst, pairs), _slowness(answer)]
    score = round(_score(BEST - sum(fault.points for fault in faults)), 1)
    worst = _worst(faults)
    return Quality(score, worst.said() if worst.points >= NOTICED else say("nothing_disturbs"))


def _worst(faults: Iterable[Fault]) -> Fault:
    return max(faults, key=lambda fault: fault.points)


def _faults(way: Direction, up: bool) -> list[Fault]:
    """Loss, jitter and gaps."""
    loss = way.missed / max(way.packets + way.missed, LEAST_PACKETS)
    talking = max(way.packets, LEAST_PACKETS) * FRAME
    silent = way.gap_seconds / (talking + way.gap_seconds)
    lost = LOSS_WORST * loss / (loss + LOSS_ROBUSTNESS)
    gaps = GAPS_WORST * silent / (silent + LOSS_ROBUSTNESS)
    return [
        Fault(lost, partial(_missing, up, loss)),
        Fault(_delay_points(2 * way.jitter), partial(_uneven, up, way.jitter)),
        Fault(gaps, partial(_torn, up, silent)),
    ]


def _missing(up: bool, share: float) -> Saying:
    value = f"{share:.1%}"
    return say("loss_up", value=value) if up else say("loss_down", value=value)


def _uneven(up: bool, seconds: float) -> Saying:
    value = f"{seconds * 1000:.0f} ms"
    return say("jitter_up", value=value) if up else say("jitter_down", value=value)


def _torn(up: bool, share: float) -> Saying:
    value = f"{share:.1%}"
    return say("gaps_up", value=value) if up else say("gaps_down", value=value)


def _slowness(answer: float | None) -> Fault:
    seconds = answer or 0.0
    points = min(ANSWER_POINTS * max(0.0, seconds - ANSWER_FREE), ANSWER_WORST)
    return Fault(points, lambda: say("slow_answers", value=f"{seconds:.1f} s"))


def _delay_points(seconds: float) -> float:
    """Of a delay one way, which is what a buffer against jitter costs."""
    return 24.0 * seconds + 110.0 * max(0.0, seconds - DELAY_KNEE)


def _score(points: float) -> float:
    """A mean opinion score; below 6.5 points the curve would go under 1."""
    if points <= 6.5:
        return 1.0
    return 1 + 0.035 * points + points * (points - 60) * (100 - points) * 7e-6
