"""Webhooks: events as HTTP requests to receivers outside.

Each hook has its own queue and sends one event at a time, in order, again and again with growing
pauses while its receiver fails. A hook has nothing to wait for from the others, and nobody waits
for a hook.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.admin.webhook_post import Delivery, Post, Undelivered, deliver
from xzgw.core.events import Event, Events
from xzgw.settings.sections import WebhookConfig
from xzgw.wire import messages

QUEUE = 1000  # events waiting for one receiver
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # s between the tries for one event


@dataclass(frozen=True, slots=True)
class HookState:
    """How one hook is doing.

    Attributes:
        receiver: scheme, host and port; the rest of a URL may be secret.
        waiting: events in its queue, the one that is being delivered not among them.
        delivered, dropped: events since the hook was made.
        failing: why the latest try failed; None if it did not.
    """

    receiver: str
    waiting: int
    delivered: int
    dropped: int
    failing: str | None


class Webhooks(Service):
    """All hooks, as a service: events that happen while it runs are delivered."""

    def __init__(
        self,
        events: Events,
        clock: IReactorTime,
        post: Post,
        settings: Iterable[WebhookConfig],
    ) -> None:
        self._events = events
        self._clock = clock
        self._post = post
        self._hooks: dict[str, _Hook] = {}
        self._unsubscribe: Callable[[], None] | None = None
        self.configure(settings)

    def startService(self) -> None:
        super().startService()
        self._unsubscribe = self._events.subscribe(self._tell)

    def stopService(self) -> None:
        """What is not delivered yet is given up."""
        super().stopService()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        for hook in self._hooks.values():
            hook.stop()

    def configure(self, settings: Iterable[WebhookConfig]) -> None:
        """Have these hooks from now on. One with the same URL as before keeps its queue."""
        old, self._hooks = self._hooks, {}
        for each in settings:
            hook = old.pop(each.url, None) or _Hook(each, self._post, self._clock)
            hook.settings = each
            self._hooks[each.url] = hook
        for hook in old.values():
            hook.stop()

    def states(self) -> list[HookState]:
        """How each hook is doing, in the order of the configuration."""
        return [hook.state() for hook in self._hooks.values()]

    def _tell(self, event: Event) -> None:
        hooks = [hook for hook in self._hooks.values() if hook.wants(event.kind)]
        if hooks:
            body = messages.encode(self._events.describe(event))
            for hook in hooks:
                hook.add(Delivery(self._events.id_of(event), event.kind, body))


class _Hook:
    """One receiver and what is on its way to it.

    Attributes:
        settings: may be replaced by others with the same URL; they count from the next try on.
    """

    _log = Logger()

    def __init__(self, settings: WebhookConfig, post: Post, clock: IReactorTime) -> None:
        self.settings = settings
        self._post = post
        self._clock = clock
        self._queue: deque[Delivery] = deque()
        self._work: Deferred[None] | None = None
        self._delivered = 0
        self._dropped = 0
        self._failing: str | None = None
        self._outage = False  # until an event is delivered and none is waiting
        self._lost = 0  # events of this outage

    def wants(self, kind: str) -> bool:
        return not self.settings.events or kind in self.settings.events

    def add(self, delivery: Delivery) -> None:
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._drop(f"more than {QUEUE} are waiting")
        self._queue.append(delivery)
        if self._work is None:
            self._work = Deferred.fromCoroutine(self._deliver_all())
            self._work.addErrback(self._ended_early).addBoth(self._idle)

    def stop(self) -> None:
        self._queue.clear()
        if self._work is not None:
            self._work.cancel()

    def state(self) -> HookState:
        return HookState(
            self._receiver, len(self._queue), self._delivered, self._dropped, self._failing
        )

    @property
    def _receiver(self) -> str:
        parts = urlsplit(self.settings.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def _deliver_all(self) -> None:
        while self._queue:
            await self._deliver(self._queue.popleft())

    async def _deliver(self, delivery: Delivery) -> None:
        for pause in (*PAUSES, None):
            hook = self.settings
            try:
                await deliver(self._post, self._clock, hook.url, hook.secret, delivery)
            except Undelivered as problem:
                self._failed(str(problem))
            else:
                self._succeeded()
                return
            if pause is not None:
                await deferLater(self._clock, pause)
        self._drop(f"{len(PAUSES) + 1} tries failed")

    def _failed(self, reason: str) -> None:
        self._failing = reason
        if not self._outage:
            self._outage = True
            self._log.warn(
                "webhook at {receiver} fails, trying again: {reason}",
                receiver=self._receiver,
                reason=reason,
            )

    def _succeeded(self) -> None:
        self._delivered += 1
        self._failing = None
        if self._outage and not self._queue:
            self._log.info(
                "webhook at {receiver} works again; {count} events were dropped",
                receiver=self._receiver,
                count=self._lost,
            )
            self._outage = False
            self._lost = 0

    def _drop(self, why: str) -> None:
        """Count an event as lost; the log has the first one of each outage."""
        self._outage = True
        self._dropped += 1
        self._lost += 1
        if self._lost == 1:
            self._log.warn(
                "webhook at {receiver}: events are being dropped: {why}",
                receiver=self._receiver,
                why=why,
            )

    def _ended_early(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("fault in a webhook", failure=failure)

    def _idle(self, _: object) -> None:
        self._work = None
