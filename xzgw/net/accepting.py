"""Connections that cannot be accepted, for want of file descriptors or memory.

Twisted closes them at once, or leaves them waiting, and logs a few lines for each. There may be
thousands a second; so here it is one line per interval.
"""

from __future__ import annotations

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

TELL_EVERY = 10.0  # s


def hush(clock: IReactorTime) -> None:
    """Let all listening ports of this process tell of it in this way."""
    # The name is Twisted's own affair: with one that has it no more, the lines are just more.
    tcp.Port._logger = Logger("twisted.internet.tcp.Port", observer=Sparing(clock))


@implementer(ILogObserver)
class Sparing:
    """Takes what Twisted's ports have to say: `address` is in the event for each connection that
    was closed, `acceptError` if one could not be accepted, and neither in what leads to that.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._closed = 0  # since the last line
        self._told_at: float | None = None

    def __call__(self, event: LogEvent) -> None:
        closed = "address" in event
        self._closed += closed
        if not closed and "acceptError" not in event:
            return
        now = self._clock.seconds()
        if self._told_at is not None and now < self._told_at + TELL_EVERY:
            return
        self._log.warn(
            "cannot accept connections: {why}; {count} cut off since the last such line",
            why=event.get("acceptError", "no file descriptors are left"),
            count=self._closed,
        )
        self._told_at, self._closed = now, 0
