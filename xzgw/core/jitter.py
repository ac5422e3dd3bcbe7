"""How evenly one stream of audio arrives: jitter as RFC 3550 A.8 smooths it, and gaps."""

from __future__ import annotations

from math import inf

PAUSE = 1.0  # s beyond the audio's own spacing that are a pause in speech: no jitter, no gap
GAP = 0.2  # s between packets that are a gap: more than three frames of 60 ms


class Jitter:
    """One stream.

    Attributes:
        seconds: mean deviation of the packets' spacing from the spacing of their audio.
        gaps: how often nothing came for longer than GAP, though there was speech: the packets
            between were lost, or the next one came less than PAUSE late.
        longest_gap, gap_seconds: of these, in seconds.
        at: clock seconds of the latest packet; minus infinity before it, and after `restart`.
        began: clock seconds of the first packet since the last `restart`; None before it.
    """

    __slots__ = ("at", "began", "gap_seconds", "gaps", "longest_gap", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.gaps = 0
        self.longest_gap = 0.0
        self.gap_seconds = 0.0
        self.restart()

    def restart(self) -> None:
        """A new stretch of speech begins; how long it took to come is no jitter."""
        self.began: float | None = None
        self.at = -inf  # a pause before the next packet

    def arrived(self, now: float, spacing: float) -> None:
        """Take one packet; written for speed, as all packets of all sessions come here.

        Args:
            now: clock seconds.
            spacing: seconds of audio between the packet before and this one.
        """
        interval = now - self.at
        self.at = now
        deviation = interval - spacing
        if deviation < 0.0:
            deviation = -deviation
        if deviation < PAUSE:
            seconds = self.seconds
            self.seconds = seconds + (deviation - seconds) * 0.0625  # RFC 3550: a sixteenth
            if interval > GAP:
                self._missed(interval)
        elif self.began is None:
            self.began = now

    def _missed(self, seconds: float) -> None:
        self.gaps += 1
        self.gap_seconds += seconds
        self.longest_gap = max(self.longest_gap, seconds)
