"""Emptying the gateway without hurry: nobody new, open sessions to their ends, the others go.

Devices that are let go come back soon, wherever they are sent then; so they go at a bounded rate.
Idle ones start to go at once: staying, they could not open a session. One with a session goes when
it has ended, or when its time is up.

Connections that were there before, but have not said CONNECT yet, are let in: where a listening
socket is shared with a successor, nobody must be refused who came to the wrong one of the two. Then
they go like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from xzgw.core.device import Device
from xzgw.core.door import Presence
from xzgw.core.services import Services

LOOK_EVERY = 1.0  # s


class Drain:
    """See the module's text."""

    _log = Logger()

    def __init__(
        self,
        devices: Mapping[str, Device],
        services: Services,
        let_go: Callable[[Device], None],
    ) -> None:
        """
        Args:
            devices: all that are connected.
            let_go: ends a device's session and connection.
        """
        self._devices = devices
        self._services = services
        self._let_go = let_go
        self._since = 0.0  # clock seconds
        self._timer: IDelayedCall | None = None
        self._began: list[Callable[[], None]] = []
        self._over: list[Callable[[], None]] = []

    def watch(self, began: Callable[[], None] | None, over: Callable[[], None] | None) -> None:
        """What to call when it begins, and each time that nobody is left."""
        self._began += [began] if began is not None else []
        self._over += [over] if over is not None else []

    def start(self) -> None:
        """Begin; if it has begun, nothing changes."""
        limits = self._services.limits
        if limits.draining:
            return
        limits.drain()
        self._since = self._services.clock.seconds()
        self._log.info(
            "draining: {devices} devices are to go, {sessions} sessions may last {seconds} s yet",
            devices=len(self._devices),
            sessions=limits.sessions,
            seconds=self._services.config.limits.drain_seconds,
        )
        for tell in self._began:
            tell()
        self._look()

    def joined(self) -> None:
        """A device was let in: it is to go again if this has begun, even if it was over."""
        if self._services.limits.draining and self._timer is None:
            self._timer = self._services.clock.callLater(LOOK_EVERY, self._look)

    def stop(self) -> None:
        """The gateway stops: no more of this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        settings, now = self._services.config.limits, self._services.clock.seconds()
        late = now >= self._since + settings.drain_seconds
        due = [d for d in self._devices.values() if late or d.presence is Presence.IDLE]
        for device in islice(due, int(settings.drain_rate * LOOK_EVERY)):
            self._let_go(device)
        if self._devices or self._services.limits.expected:
            self._timer = self._services.clock.callLater(LOOK_EVERY, self._look)
            return
        self._log.info("drained: nobody is left")
        for tell in self._over:
            tell()
