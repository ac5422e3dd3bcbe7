"""How many lines the log gets of diagnoses, whatever many devices have in common.

A closed port or a server at fault is the same sentence for each of thousands of devices; a few of
them say it all. The others are in the API, and told as events.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.core.findings import Cause

MOST_LINES = 10  # of one cause
WINDOW = 60.0  # s


class Lines:
    """See the module's text."""

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        """Take a clock, in seconds."""
        self._now = now
        self._counts: dict[Cause, tuple[float, int]] = {}  # since when, and how many

    def take(self, cause: Cause) -> bool:
        """Whether one more of this cause gets its line."""
        now = self._now()
        since, count = self._counts.get(cause, (now, 0))
        if now >= since + WINDOW:
            since, count = now, 0
        self._counts[cause] = since, count + 1
        if count == MOST_LINES:
            self._log.warn(
                "{cause}: more than {n} devices within a minute; further ones are told by the API,"
                " its events and the dashboard only",
                cause=cause.value,
                n=MOST_LINES,
            )
        return count < MOST_LINES
