"""What happens, for whoever wants to know: a bounded history and its subscribers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from twisted.logger import Logger

from xzgw.wire.messages import Json

HISTORY = 1000  # events
KINDS = (
    "connect",
    "disconnect",
    "session_start",
    "session_end",
    "diagnosis",
    "call",
    "backend_up",
    "backend_down",
    "refused",
)
# Stands in what `Events.resume` answers for events that may be missing; never published.
GAP = "gap"

_ID = re.compile(r"(?P<run>.*)-(?P<number>[0-9]{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact.

    Attributes:
        number: rising by one with each event since the start.
        at: unix time.
        kind: one of KINDS.
        data: JSON members; never a secret.
    """

    number: int
    at: float
    kind: str
    data: Json


Subscriber = Callable[[Event], None]


class Events:
    """See the module's text."""

    _log = Logger()

    def __init__(self, now: Callable[[], float], run: str) -> None:
        """
        Args:
            now: unix time.
            run: tells this run of the gateway from others, so that event ids never repeat.
        """
        self.run = run
        self._now = now
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._subscribers: list[Subscriber] = []
        self._number = 0

    def publish(self, kind: str, **data: object) -> Event:
        """Tell all subscribers; a fault of one is logged and does not stop the others."""
        self._number += 1
        event = Event(self._number, self._now(), kind, data)
        self._history.append(event)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                self._log.failure("fault of an event subscriber")
        return event

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Hear of each event from now on, until the function that is returned is called."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def since(self, number: int) -> list[Event]:
        """The events after this one that are still remembered, oldest first."""
        return [event for event in self._history if event.number > number]

    def resume(self, event_id: str) -> list[Event]:
        """What a reader missed whose last event had this id, oldest first.

        When it cannot be told (another run, forgotten, no id of ours), a GAP and all that is
        remembered. The GAP has the number before that, so that one can resume from it.
        """
        oldest = self._history[0].number if self._history else self._number + 1
        match = _ID.fullmatch(event_id)
        if match and match["run"] == self.run:
            number = int(match["number"])
            if oldest - 1 <= number <= self._number:
                return self.since(number)
        return [Event(oldest - 1, self._now(), GAP, {}), *self._history]

    @property
    def published(self) -> int:
        """How many there were since the start."""
        return self._number

    @property
    def last_id(self) -> str:
        """The id of the latest event: resuming from it, one misses nothing from now on."""
        return f"{self.run}-{self._number}"

    def id_of(self, event: Event) -> str:
        """What tells an event from those of all runs."""
        return f"{self.run}-{event.number}"

    def describe(self, event: Event) -> Json:
        """An event as readers outside get it: `id`, `time` (RFC 3339, UTC), `kind`, its data."""
        time = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
        head = {"id": self.id_of(event), "time": time.replace("+00:00", "Z"), "kind": event.kind}
        # Twice: once for its place, once so that no member of the data hides it.
        return {**head, **event.data, **head}
