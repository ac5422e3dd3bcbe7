"""Interarrival jitter of one stream of audio, as RFC 3550 A.8 smooths it."""

from __future__ import annotations

from math import inf

PAUSE = 1.0  # s between packets that are a pause in speech, and no jitter


class Jitter:
    """Mean deviation of the packets' spacing from the spacing of their audio, in seconds."""

    __slots__ = ("_at", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._at = -inf  # a pause before the first packet

    def arrived(self, now: float, spacing: float) -> None:
        """Take one packet.

        Args:
            now: clock seconds.
            spacing: seconds of audio between the packet before and this one.
        """
        deviation = now - self._at - spacing
        self._at = now
        if -PAUSE < deviation < PAUSE:
            self.seconds += (abs(deviation) - self.seconds) / 16
