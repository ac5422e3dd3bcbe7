"""Sums over all sessions of this process, as plain values: what metrics are made of."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from xzgw.core.audio_stats import Stats
from xzgw.core.findings import Cause

# Upper bounds of buckets; a value equal to one belongs to it.
SETUP_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # s
ANSWER_BOUNDS: Final = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)  # s
JITTER_BOUNDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # s
QUALITY_BOUNDS: Final = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.3)  # score of 1 to 5


class Ending:
    """Why sessions end, in the few words that `Totals.ended` has as its keys."""

    GOODBYE: Final = "goodbye"  # said by the device
    DISCONNECTED: Final = "disconnected"  # the device's MQTT connection is lost or closed
    UDP_TIMEOUT: Final = "udp_timeout"  # reported by the device
    NEW_HELLO: Final = "new_hello"  # of the device, while a session was open
    CALL: Final = "call"  # the other device left, or never came
    SERVER: Final = "server"  # the chat server closed or was lost
    GATEWAY: Final = "gateway"  # the operator, a drain, or the gateway's end


ENDINGS: Final = (
    Ending.GOODBYE,
    Ending.DISCONNECTED,
    Ending.UDP_TIMEOUT,
    Ending.NEW_HELLO,
    Ending.CALL,
    Ending.SERVER,
    Ending.GATEWAY,
)


@dataclass(slots=True)
class Histogram:
    """How many values were up to each bound.

    Attributes:
        counts: one for each bound, not cumulated, and one for what is above them all.
        sum: of all values.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    @property
    def total(self) -> int:
        """How many values."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Histogram:
        return Histogram(self.bounds, list(self.counts), self.sum)


@dataclass(slots=True)
class Totals:
    """Since the start of the process.

    Attributes:
        started: sessions that were answered, i.e. got as far as audio.
        failed: hellos that no chat server answered.
        open: those of them that have not ended.
        ended: those that have, by the kind of reason (ENDINGS).
        diagnosed: how often each cause was told.
        audio: packets between gateway and devices, of ended and open sessions. `lost` falls
            when one of them comes late; `lost + late` only rises.
        gaps_up, gaps_down: see core.jitter.
        unsent: uplink packets that servers were too slow to be sent.
        audio_refused, texts_refused: messages of servers that were malformed.
        audio_unwanted: packets of servers for which there was no session.
        setup: s from hello to reply, of each session when it started.
        answer: s from the end of the user's speech to the first audio back, of each turn.
        jitter_up, jitter_down: s, of each session with audio in that direction when it ended.
        quality: score of each session with audio when it ended (core.quality).
    """

    started: int = 0
    failed: int = 0
    open: int = 0
    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDINGS, 0))
    diagnosed: dict[Cause, int] = field(default_factory=lambda: dict.fromkeys(Cause, 0))
    audio: Stats = field(default_factory=Stats)
    gaps_up: int = 0
    gaps_down: int = 0
    unsent: int = 0
    audio_refused: int = 0
    audio_unwanted: int = 0
    texts_refused: int = 0
    setup: Histogram = field(default_factory=lambda: Histogram(SETUP_BOUNDS))
    answer: Histogram = field(default_factory=lambda: Histogram(ANSWER_BOUNDS))
    jitter_up: Histogram = field(default_factory=lambda: Histogram(JITTER_BOUNDS))
    jitter_down: Histogram = field(default_factory=lambda: Histogram(JITTER_BOUNDS))
    quality: Histogram = field(default_factory=lambda: Histogram(QUALITY_BOUNDS))

    def copy(self) -> Totals:
        """The same counts, which stay as they are."""
        audio = Stats()
        audio.add(self.audio)
        return Totals(
            started=self.started,
            failed=self.failed,
            open=self.open,
            ended=dict(self.ended),
            diagnosed=dict(self.diagnosed),
            audio=audio,
            gaps_up=self.gaps_up,
            gaps_down=self.gaps_down,
            unsent=self.unsent,
            audio_refused=self.audio_refused,
            audio_unwanted=self.audio_unwanted,
            texts_refused=self.texts_refused,
            setup=self.setup.copy(),
            answer=self.answer.copy(),
            jitter_up=self.jitter_up.copy(),
            jitter_down=self.jitter_down.copy(),
            quality=self.quality.copy(),
        )
