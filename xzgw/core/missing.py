"""Which of the latest sequences have not arrived: to tell late packets from duplicates."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 64  # sequences behind the newest that are remembered
_MASK: Final = (1 << WINDOW) - 1


class Missing:
    """Touched only when a packet is missing, or one comes that is not new."""

    __slots__ = ("_bits", "_newest")

    def __init__(self) -> None:
        self._newest = 0  # sequence that came after the latest loss
        self._bits = 0  # bit n: that of n before it is missing

    def skipped(self, last: int, sequence: int) -> None:
        """Sequences between these two, the ones before and after a loss, have not come."""
        shift = min(sequence - self._newest, WINDOW)
        lost = min(sequence - last - 1, WINDOW)
        self._bits = (self._bits << shift | ((1 << lost) - 1) << 1) & _MASK
        self._newest = sequence

    def take(self, last: int, sequence: int) -> bool | None:
        """A packet that is not above the last one taken, or is that one.

        Returns:
            True if it had been missing, which it is no more; False if it has come before; None
            if that is too long ago to tell.
        """
        if not 0 < sequence or last - sequence >= WINDOW:
            return None
        bit = 1 << self._newest - sequence if sequence <= self._newest else 0
        was_missing = bool(self._bits & bit)
        self._bits &= ~bit
        return was_missing
