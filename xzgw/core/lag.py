"""How late the event loop is: a timer that measures its own lateness.

Whatever keeps the loop busy for long delays all audio by as much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from xzgw.core.totals import Histogram

LOOK_EVERY = 0.5  # s
BOUNDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # s


class Lag:
    """See the module's text.

    Attributes:
        seen: s that each look was late.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float]) -> None:
        """
        Args:
            now: seconds of a clock that is never set; the reactor's is.
        """
        self.seen = Histogram(BOUNDS)
        self._clock = clock
        self._now = now
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._clock.callLater(LOOK_EVERY, self._look, self._now() + LOOK_EVERY)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, due: float) -> None:
        self.seen.observe(max(0.0, self._now() - due))
        self.start()
