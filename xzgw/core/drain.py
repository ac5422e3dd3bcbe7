"""Emptying the gateway without hurry: nobody new, open sessions to their ends, the others go.

Devices that are let go come back soon, wherever they are sent then; so they go at a bounded rate.
Idle ones start to go at once: staying, they could not open a session. One with a session goes when
it has ended, or when its time is up.
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

    def start(self) -> None:
        """Begin; if it has begun, nothing changes."""
        limits = self._services.limits
        if limits.draining:
            return
        limits.draining = True
        self._since = self._services.clock.seconds()
        self._log.info(
            "draining: {devices} devices are to go, {sessions} sessions may last {seconds} s yet",
            devices=len(self._devices),
            sessions=limits.sessions,
            seconds=self._services.config.limits.drain_seconds,
        )
        self._look()

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
        if self._devices:
            self._timer = self._services.clock.callLater(LOOK_EVERY, self._look)
        else:
            self._log.info("drained: nobody is left")
