"""Audio in its own time: one packet each 60 ms, as devices and servers send it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

FRAME_SECONDS = 0.060

T = TypeVar("T")


def paced(
    clock: IReactorTime, items: Iterable[T], send: Callable[[T], None], burst: int = 1
) -> Deferred[None]:
    """Send the first `burst` items at once and each further one 60 ms after the one before.

    With burst 0 the first one, too, waits 60 ms: the time in which it is recorded. Fires after the
    last item was sent. Late timers do not add up: the schedule counts from the start. Cancel it to
    stop sending.
    """
    return Deferred.fromCoroutine(_paced(clock, items, send, burst))


async def _paced(
    clock: IReactorTime, items: Iterable[T], send: Callable[[T], None], burst: int
) -> None:
    start = clock.seconds()
    for number, item in enumerate(items):
        due = start + max(0, number - burst + 1) * FRAME_SECONDS
        if (wait := due - clock.seconds()) > 0:
            await deferLater(clock, wait)
        send(item)
