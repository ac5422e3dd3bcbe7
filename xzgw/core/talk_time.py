"""How long each device has talked today, over all its connections."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_DEVICES = 100_000  # remembered; the one that talked least recently is forgotten


class TalkTime:
    """Seconds of session by client id, from local midnight on."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Take unix time."""
        self._now = now
        self._day = ""
        self._seconds: dict[str, float] = {}

    def add(self, client_id: str, seconds: float) -> None:
        """A session has ended; what of it was before midnight counts for today, too."""
        self._turn()
        total = self._seconds.pop(client_id, 0.0) + seconds
        if len(self._seconds) >= MAX_DEVICES:
            del self._seconds[next(iter(self._seconds))]
        self._seconds[client_id] = total

    def today(self, client_id: str) -> float:
        self._turn()
        return self._seconds.get(client_id, 0.0)

    def _turn(self) -> None:
        day = time.strftime("%Y-%m-%d", time.localtime(self._now()))
        if day != self._day:
            self._day = day
            self._seconds.clear()
