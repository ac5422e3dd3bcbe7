"""What is known of one chat server: its sessions, its failures, and how much more it may take.

A server that answers again after failures, or has been drained, is not flooded at once: for
SLOW_START its weight grows from FIRST_SHARE of what is configured to all of it.
"""

from __future__ import annotations

from xzgw.wire.addresses import shown_url

FIRST_PAUSE = 1.0  # s a server is left alone after it failed
LONGEST_PAUSE = 60.0  # s
SLOW_START = 30.0  # s
FIRST_SHARE = 0.1


class Failures:
    """Those of one kind, in a row. Times are clock seconds."""

    __slots__ = ("at", "count", "error", "retry_at")

    def __init__(self) -> None:
        self.count = 0
        self.retry_at = 0.0  # until then the server is left alone
        self.error = ""  # of the last one
        self.at = float("-inf")  # when that was

    def add(self, reason: str, now: float) -> bool:
        """One more; False within the pause after the last: many dials at once are one failure."""
        self.error, self.at = reason, now
        if now < self.retry_at:
            return False
        self.retry_at = now + min(FIRST_PAUSE * 2**self.count, LONGEST_PAUSE)
        self.count = min(self.count + 1, 16)
        return True

    def clear(self) -> None:
        self.count, self.retry_at = 0, 0.0


class Server:
    """One chat server, as known so far; it outlives its place in the lists while in use.

    Attributes: times are clock seconds.
        url: to be dialled; may hold secrets.
        shown: the same for people.
    """

    __slots__ = (
        "checked_at",
        "draining",
        "held_until",
        "in_checks",
        "in_sessions",
        "only",
        "recovered_at",
        "sessions",
        "shown",
        "tried_until",
        "url",
        "weight",
    )

    def __init__(self, url: str) -> None:
        self.url = url
        self.shown = shown_url(url)
        self.weight = 1
        self.sessions = 0  # open or being opened
        self.in_sessions = Failures()
        self.in_checks = Failures()
        self.only = ""  # the device that all failed sessions in a row are of, see Backends.failed
        self.tried_until = 0.0  # one session finds out whether it is well; others stay away
        self.recovered_at = float("-inf")  # when it was last well again, or resumed
        self.checked_at = float("-inf")  # see core.backend_check
        self.held_until = 0.0  # its last check failed; by then the next one should have an outcome
        self.draining = False  # no new sessions, by the operator's wish

    @property
    def failures(self) -> int:
        """In a row, not forgotten yet."""
        return self.in_sessions.count + self.in_checks.count

    @property
    def retry_at(self) -> float:
        """Until then it is left alone."""
        return max(self.in_sessions.retry_at, self.in_checks.retry_at, self.held_until)

    @property
    def ready_at(self) -> float:
        """The same, but for what only one device has met: that may be the device's own fault."""
        sessions = 0.0 if self.only else self.in_sessions.retry_at
        return max(sessions, self.in_checks.retry_at, self.held_until)

    @property
    def free_at(self) -> float:
        """Until then other servers are preferred, unless they have failed their last check."""
        return max(self.in_sessions.retry_at, self.in_checks.retry_at, self.tried_until)

    @property
    def last_error(self) -> str:
        """Of what is failing, the latest; if all is well, what it was then."""
        kinds = (self.in_sessions, self.in_checks)
        return max(kinds, key=lambda kind: (kind.count > 0, kind.at)).error

    def load(self, now: float) -> float:
        """Sessions per weight, were it to get one more."""
        share = FIRST_SHARE + (1 - FIRST_SHARE) * (now - self.recovered_at) / SLOW_START
        return (self.sessions + 1) / (self.weight * min(share, 1.0))
