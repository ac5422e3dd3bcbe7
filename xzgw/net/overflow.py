"""Connections that there is no room for: some are heard until they can be answered in the words of
their protocol, and when there are too many even of these, they are cut off at once.

Whoever causes them may cause thousands a second; so each takes next to nothing, for a short time,
and none has a line in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

HEARING_TIME = 2.0  # s that one has, from its beginning to its end
MOST_HEARD = 2048  # bytes

# Of all that has come so far, what to answer before closing; None if it is not enough yet.
Answer = Callable[[bytes], bytes | None]


class Overflow:
    """Makes protocols for such connections.

    Attributes:
        heard: those that are heard now.
    """

    def __init__(
        self, clock: IReactorTime, answer: Answer, places: int, *, linger: bool = False
    ) -> None:
        """
        Args:
            places: how many are heard at a time.
            linger: leave it to the other end to close after the answer, as long as there is time.
                Closing while more is coming could destroy an answer that is on its way.
        """
        self.heard: set[Protocol] = set()
        self.clock = clock
        self.answer = answer
        self.places = places
        self.linger = linger

    def protocol(self) -> Protocol:
        """For one more."""
        return _Heard(self)

    def close(self) -> None:
        """Cut off all of them."""
        for protocol in tuple(self.heard):
            transport: Any = protocol.transport
            transport.abortConnection()


class _Heard(Protocol):
    """One connection; cut off at once if all places are taken."""

    transport: Any

    def __init__(self, owner: Overflow) -> None:
        self._owner = owner
        self._received = b""
        self._timer: IDelayedCall | None = None
        self._deaf = False  # it has its answer, or will not get one

    def connectionMade(self) -> None:
        if len(self._owner.heard) >= self._owner.places:
            self._cut_off()
            return
        self._owner.heard.add(self)
        self._timer = self._owner.clock.callLater(HEARING_TIME, self._cut_off)

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        self._received += data
        if len(self._received) > MOST_HEARD:
            self._cut_off()
            return
        words = self._owner.answer(self._received)
        if words is None:
            return
        self._deaf = True
        self._received = b""
        self.transport.write(words)
        if not self._owner.linger:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._owner.heard.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _cut_off(self) -> None:
        self._deaf = True
        self._received = b""
        self.transport.abortConnection()
