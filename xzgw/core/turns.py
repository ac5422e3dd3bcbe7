"""How long answers take: from the end of the user's speech to the first audio back.

A turn begins when the user has stopped talking: with the device's `listen stop` or the server's
`stt`, whichever comes first. The answer is the server's first audio after that; if it says
`tts start`, as servers do, the first after that, so that the rest of an earlier answer is not taken
for this one.
"""

from __future__ import annotations

from collections.abc import Callable

from xzgw.core.jitter import Jitter


class Turns:
    """One session's turns.

    Attributes:
        count: how many have begun, answered or not.
    """

    __slots__ = (
        "_answers",
        "_down",
        "_last",
        "_now",
        "_playing",
        "_signs",
        "_stopped_at",
        "_sum",
        "_told",
        "_up",
        "_worst",
        "count",
    )

    def __init__(
        self, now: Callable[[], float], up: Jitter, down: Jitter, told: Callable[[float], None]
    ) -> None:
        """
        Args:
            now: clock seconds.
            up, down: the streams of audio from the device and to it.
            told: called with the seconds that each answer took, once its turn is over.
        """
        self.count = 0
        self._now = now
        self._up = up
        self._down = down
        self._told = told
        self._stopped_at: float | None = None  # clock seconds; None: no turn
        self._signs: frozenset[str] = frozenset()  # of the end of speech, in this turn
        self._playing = False  # the server has begun to answer this turn
        self._answers = 0  # of turns that are over
        self._sum = 0.0
        self._worst = 0.0
        self._last: float | None = None

    @property
    def last(self) -> float | None:
        """Seconds that the latest answer took; None before the first."""
        pending = self._pending()
        return self._last if pending is None else pending

    @property
    def worst(self) -> float | None:
        """The most of them all."""
        return None if self.last is None else max(self._worst, self._pending() or 0.0)

    @property
    def mean(self) -> float | None:
        """Their mean."""
        pending = self._pending()
        answers = self._answers + (pending is not None)
        return (self._sum + (pending or 0.0)) / answers if answers else None

    def device_said(self, kind: str | None, state: str | None) -> None:
        """Take a message of the device by its type and state."""
        match kind, state:
            case "listen", "start":
                self.finish()
                self._up.restart()
            case "listen", "stop":
                self._stopped("listen stop")

    def server_said(self, kind: str | None, state: str | None) -> None:
        """Take a message of the server by its type and state."""
        match kind, state:
            case "stt", _:
                self._stopped("stt")
            case "tts", "start" if not self._playing:
                self._playing = self._stopped_at is not None
                self._down.restart()

    def finish(self) -> None:
        """The turn is over, if there is one; without audio it got no answer."""
        seconds = self._pending()
        if seconds is not None:
            self._answers += 1
            self._sum += seconds
            self._worst = max(self._worst, seconds)
            self._last = seconds
            self._told(seconds)
        self._stopped_at = None
        self._playing = False

    def _stopped(self, sign: str) -> None:
        if self._stopped_at is not None and sign not in self._signs:
            self._signs |= {sign}  # the same end, told by the other side, too
            return
        self.finish()
        self.count += 1
        self._signs = frozenset((sign,))
        self._stopped_at = self._now()
        self._down.restart()

    def _pending(self) -> float | None:
        """What the present turn's answer took, as far as it can be told yet."""
        began = self._down.began
        return None if self._stopped_at is None or began is None else began - self._stopped_at
