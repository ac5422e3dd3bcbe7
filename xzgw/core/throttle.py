"""Guard rails: against guessing of passwords, and against devices that talk without end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

WINDOW = 60.0  # s
ALLOWED = 10  # wrong answers of one address in WINDOW that are told at once
DELAY = 1.0  # s by which further ones are told late
MAX_ADDRESSES = 10_000  # remembered; the one heard least recently is forgotten


class WrongAnswers:
    """Wrong passwords and tokens by address: who guesses is slowed down.

    The right answer is never refused or delayed for it: many devices share one address.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        """Take a clock, in seconds."""
        self.total = 0
        self._now = now
        self._times: dict[str, deque[float]] = {}

    def note(self, address: str) -> float:
        """Count a wrong answer; returns the seconds to wait before telling that it was wrong."""
        self.total += 1
        now = self._now()
        times = self._times.pop(address, None) or deque(maxlen=ALLOWED + 1)
        if len(self._times) >= MAX_ADDRESSES:
            del self._times[next(iter(self._times))]
        self._times[address] = times
        while times and times[0] <= now - WINDOW:
            times.popleft()
        was_over = len(times) > ALLOWED
        times.append(now)
        if len(times) <= ALLOWED:
            return 0.0
        if not was_over:
            self._log.warn(
                "{address}: more than {n} wrong passwords or tokens within a minute;"
                " further ones are answered late",
                address=address,
                n=ALLOWED,
            )
        return DELAY


class MessageLimit:
    """How many messages one device may send: a token bucket."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens", "refused", "row")

    def __init__(self, rate: int, burst: int, now: float) -> None:
        """
        Args:
            rate: messages per second in the long run.
            burst: messages at once.
            now: clock seconds.
        """
        self.refused = 0  # in all
        self.row = 0  # refused since the bucket was last half full
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether one more message may pass."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            self.refused += 1
            self.row += 1
            return False
        if self._tokens * 2 >= self._burst:
            self.row = 0
        self._tokens -= 1
        return True

    @property
    def abused(self) -> bool:
        """Whether the device keeps on in spite of having its messages dropped."""
        return self.row > self._burst
