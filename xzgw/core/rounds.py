"""Who is to be looked at, and when: a while after something happened, and few at a time.

Whatever happens, each waits for one look at most, and all wait equally long: a queue does. So many
looks cost less than one percent of a processor, however many devices there are, and those made at
once, each with a line in the log at worst, hold up no audio; when there are more, they come later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

LOOK_EVERY = 0.2  # s
LOOK_AFTER = 4.0  # s
MOST = 25  # looks at a time, of some 15 us each; 400 us with its line in the log


class Rounds:
    """See the module's text."""

    _log = Logger()

    def __init__(self, now: Callable[[], float]) -> None:
        """Take a clock, in seconds."""
        self._now = now
        self._due: deque[tuple[float, Callable[[], None]]] = deque()

    def expect(self, look: Callable[[], None]) -> None:
        """Call this once, LOOK_AFTER seconds from now or a little later."""
        self._due.append((self._now() + LOOK_AFTER, look))

    def look(self) -> None:
        """Make the looks that are due; to be called every LOOK_EVERY seconds."""
        now, due = self._now(), self._due
        for _ in range(MOST):
            if not due or due[0][0] > now:
                return
            _, look = due.popleft()
            try:
                look()
            except Exception:
                self._log.failure("fault of a diagnosis")
