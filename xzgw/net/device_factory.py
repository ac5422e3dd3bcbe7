"""Every device's connection: each is made and counted here, and all are closed here at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.internet.protocol import Factory

from xzgw.core.gateway import Gateway
from xzgw.net.device import DeviceProtocol
from xzgw.net.tcp import host_of


class DeviceFactory(Factory):
    """Makes a DeviceProtocol per connection, and knows those that are open."""

    noisy = False

    def __init__(
        self, gateway: Gateway, clock: IReactorTime, no_room: Callable[[], IProtocol]
    ) -> None:
        """
        Args:
            no_room: makes a protocol for a connection beyond the gateway's limits.
        """
        self._gateway = gateway
        self._clock = clock
        self._no_room = no_room
        self._open: set[DeviceProtocol] = set()
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        host = host_of(addr)
        if self._gateway.services.limits.arrived(host) is not None:
            return self._no_room()
        protocol = DeviceProtocol(self._gateway, self._clock, self._lost, host)
        self._open.add(protocol)
        return protocol

    def close_all(self, reason: str) -> Deferred[None]:
        """Close what is still open; fires when all of it is really gone.

        The gateway has stopped to let anybody in. A connection that owes its CONNECT has
        LAST_CONNECT_TIME for it; one that does not take what is queued for it is cut off after
        CLOSE_TIME.
        """
        done: Deferred[None] = Deferred()
        self._emptied = done
        for protocol in list(self._open):
            protocol.show_out(reason)
        self._check_empty()
        return done

    def _lost(self, protocol: DeviceProtocol) -> None:
        self._open.discard(protocol)
        self._check_empty()

    def _check_empty(self) -> None:
        if self._emptied is not None and not self._open:
            done, self._emptied = self._emptied, None
            done.callback(None)
