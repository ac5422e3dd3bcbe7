"""Guard rails: against guessing of passwords, and against devices that talk without end."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.wire.addresses import network_of

WINDOW = 60.0  # s
ALLOWED = 10  # wrong answers of one address in WINDOW that are told at once
DELAY = 1.0  # s by which further ones are told late
MAX_ADDRESSES = 10_000  # remembered; the one heard least recently is forgotten
TELL = 60.0  # s between log lines about the same address or device


class _Guesser:
    """What is remembered of one address."""

    __slots__ = ("tell_at", "times")

    def __init__(self) -> None:
        self.times: list[float] = []  # the latest; a deque would take three times as much
        self.tell_at = 0.0  # clock seconds; before that nothing is logged


class WrongAnswers:
    """Wrong passwords and tokens by address: who guesses is slowed down.

    The right answer is never refused or delayed for it: many devices share one address. An IPv6
    /64 is one address.
    """

    _log = Logger()

    def __init__(
        self,
        now: Callable[[], float],
        what: str = "wrong passwords or tokens",
        then: str = "further ones are answered late",
    ) -> None:
        """
        Args:
            now: clock seconds.
            what, then: for the log, what is counted, and what is done about many of them.
        """
        self.total = 0
        self._now = now
        self._what = what
        self._then = then
        self._guessers: dict[str, _Guesser] = {}

    def note(self, address: str) -> float:
        """Count a wrong answer; returns the seconds to wait before telling that it was wrong."""
        self.total += 1
        now = self._now()
        network = network_of(address)
        guesser = self._guessers.pop(network, None) or _Guesser()
        if len(self._guessers) >= MAX_ADDRESSES:
            del self._guessers[next(iter(self._guessers))]
        self._guessers[network] = guesser
        times = guesser.times
        while times and times[0] <= now - WINDOW:
            times.pop(0)
        times.append(now)
        del times[: -ALLOWED - 1]
        if len(times) <= ALLOWED:
            return 0.0
        if now >= guesser.tell_at:
            guesser.tell_at = now + TELL
            self._log.warn(
                "{address}: more than {n} {what} within a minute; {then} ({total} from everywhere)",
                address=address,
                n=ALLOWED,
                what=self._what,
                then=self._then,
                total=self.total,
            )
        return DELAY

    def over(self, address: str) -> bool:
        """Whether an address had too many, at the latest of them."""
        guesser = self._guessers.get(network_of(address))
        return guesser is not None and len(guesser.times) > ALLOWED


class MessageLimit:
    """How many messages one device may send: a token bucket."""

    __slots__ = ("_at", "_burst", "_rate", "_tell_at", "_tokens", "refused", "row")

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
        self._tell_at = now

    def take(self, now: float, cost: int = 1) -> bool:
        """Whether one more message may pass, which is as much work as `cost` usual ones."""
        passed = max(0.0, now - self._at)  # the clock may have been set back
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._at = now
        if self._tokens < min(cost, self._burst):
            self.refused += 1
            self.row += 1
            return False
        if self._tokens * 2 >= self._burst:
            self.row = 0
        self._tokens -= min(cost, self._burst)
        return True

    @property
    def abused(self) -> bool:
        """Whether the device keeps on in spite of having its messages dropped."""
        return self.row > self._burst

    def to_be_told(self, now: float) -> bool:
        """Whether a refusal is to be logged: one now and then, however many there are."""
        if now < self._tell_at:
            return False
        self._tell_at = now + TELL
        return True
