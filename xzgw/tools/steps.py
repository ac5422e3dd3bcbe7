"""Waiting for one step at a time, with a time-out and an error that names the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")


class StepError(Exception):
    """A step did not come about; str() is a plain sentence that begins with the step's name."""


class TooLate(StepError):
    """It did not come about in time."""


@dataclass(slots=True, eq=False)
class _Waiter:
    step: str
    ready: Callable[[], object | None]
    fired: Deferred[Any]


class Watch:
    """Waits for conditions over a state that someone else changes."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiters: list[_Waiter] = []
        self._over: str | None = None

    def until(self, step: str, ready: Callable[[], T | None], seconds: float) -> Deferred[T]:
        """Fire with what `ready` gives, now or after a change, once that is not None.

        Errbacks with TooLate when the seconds have passed, with another StepError when the watch
        is closed.
        """
        found = ready()
        if found is not None:
            return succeed(found)
        if self._over is not None:
            return fail(StepError(f"{step}: {self._over}"))
        fired: Deferred[T] = Deferred(lambda _: self._waiters.remove(waiter))
        waiter = _Waiter(step, ready, fired)
        self._waiters.append(waiter)

        def too_late(_value: object, _seconds: float) -> T:
            raise TooLate(f"{step}: nothing within {seconds:g} s")

        return fired.addTimeout(seconds, self._clock, onTimeoutCancel=too_late)

    def changed(self) -> None:
        """Look again at all that is waited for, the longest waiting first."""
        for waiter in list(self._waiters):
            # An earlier waiter's callback may have ended this one.
            if waiter in self._waiters and (found := waiter.ready()) is not None:
                self._waiters.remove(waiter)
                waiter.fired.callback(found)

    def close(self, reason: str) -> None:
        """Nothing will change any more: fail all who wait, and all who come later."""
        self._over = reason
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.fired.errback(StepError(f"{waiter.step}: {reason}"))
