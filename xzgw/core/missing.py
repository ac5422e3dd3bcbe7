"""Which of the latest sequences have not come: counts what is lost, late or a duplicate."""

from __future__ import annotations

from typing import Final

from xzgw.core.audio_stats import Stats

MAX_JUMP: Final = 1000  # sequences; a longer one is no loss
WINDOW: Final = 64  # sequences behind the newest that are remembered
_MASK: Final = (1 << WINDOW) - 1


class Missing:
    """Touched only when a packet is missing, or one comes that is not new."""

    __slots__ = ("_bits", "_newest", "_oldest", "_stats")

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._newest = 0  # sequence that came after the latest loss
        self._oldest = 1  # sequence that can be late
        self._bits = 0  # bit n: that of n before the newest is missing

    def skipped(self, last: int, sequence: int) -> None:
        """Nothing between these two, of packets accepted one after the other, has come."""
        lost = sequence - last - 1
        if lost >= MAX_JUMP:
            self._newest = self._oldest = sequence
            self._bits = 0
            return
        self._stats.lost += lost
        shift = min(sequence - self._newest, WINDOW)
        self._bits = (self._bits << shift | ((1 << min(lost, WINDOW)) - 1) << 1) & _MASK
        self._newest = sequence

    def old(self, last: int, sequence: int) -> None:
        """The device sent a packet that is refused for not being above the last one accepted.

        One that had been missing was not lost but late; any other one has come before, unless that
        is too long ago to tell.
        """
        if sequence < self._oldest or last - sequence >= WINDOW:
            return
        bit = 1 << self._newest - sequence if sequence <= self._newest else 0
        if self._bits & bit:
            self._bits -= bit
            self._stats.late += 1
            self._stats.lost -= 1
        else:
            self._stats.duplicate += 1
