"""The door to the devices of this very process."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute

from xzgw.core.chat_server import Server
from xzgw.core.device import Device
from xzgw.core.device_view import view
from xzgw.core.door import (
    BackendState,
    BackendView,
    CallResult,
    Conflict,
    DeviceView,
    Filter,
    NotConnected,
    Page,
    Presence,
    Remaining,
    Status,
)
from xzgw.core.gateway import Gateway
from xzgw.core.gateway_view import status
from xzgw.core.session_types import SessionEnded
from xzgw.core.totals import Totals
from xzgw.core.trace_types import TraceForm, TraceOptions, TraceSlice, TraceView
from xzgw.wire import messages
from xzgw.wire.credentials import CredentialError, parse_client_id
from xzgw.wire.messages import Json

BY_OPERATOR = "ended by the operator"

P = ParamSpec("P")
T = TypeVar("T")


class LocalDoor:
    """See core.door.Door, which this is."""

    def __init__(
        self,
        gateway: Gateway,
        version: str = "",
        counted: Callable[[], Mapping[str, int]] = dict,
        held: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """
        Args:
            version: of the gateway, for Status; its uptime counts from here.
            counted: what others than the gateway have counted.
            held: what they hold now.
        """
        self._gateway = gateway
        self._version = version
        self._counted = counted
        self._held = held
        self._since = gateway.services.clock.seconds()
        self._devices = gateway.devices
        self._calls = gateway.calls
        self._services = gateway.services

    def find(self, client_id: str) -> Deferred[DeviceView]:
        return self._with(client_id, self._view)

    def list(self, which: Filter, after: str, limit: int) -> Deferred[Page]:
        return execute(self._page, which, after, limit)

    def presence(self, client_ids: Iterable[str]) -> Deferred[dict[str, Presence]]:
        def look() -> dict[str, Presence]:
            found = ((client_id, self._devices.get(client_id)) for client_id in client_ids)
            return {client_id: device.presence for client_id, device in found if device}

        return execute(look)

    def command(
        self, client_id: str, method: str, params: Mapping[str, Any] | None, timeout: float
    ) -> Deferred[Any]:
        device = self._devices.get(client_id)
        if device is None:
            return _not_connected()
        return device.mcp.call(method, params, timeout)

    def tools(self, client_id: str) -> Deferred[Json]:
        return self._with(
            client_id,
            lambda device: {
                "tools": list(device.mcp.tools),
                "complete": device.mcp.complete,
                "status": device.mcp.status,
            },
        )

    def push(self, client_id: str, message: Json) -> Deferred[None]:
        return self._with(client_id, lambda device: device.push(messages.encode(message)))

    def end_session(self, client_id: str) -> Deferred[None]:
        def end(device: Device) -> None:
            if device.presence is Presence.IDLE:
                raise Conflict("no session is open")
            device.feed(SessionEnded(BY_OPERATOR))

        return self._with(client_id, end)

    def disconnect(self, client_id: str) -> Deferred[None]:
        def close(device: Device) -> None:
            device.feed(SessionEnded(BY_OPERATOR))
            device.disconnect("disconnected by the operator")

        return self._with(client_id, close)

    def start_trace(self, client_id: str, options: TraceOptions) -> Deferred[TraceView]:
        def start() -> TraceView:
            try:
                parse_client_id(client_id)
            except CredentialError:
                _raise_not_connected()  # nor will it ever be
            started = self._services.traces.start(client_id, options)
            device = self._devices.get(client_id)
            if device is not None:
                device.show_trace()
            return started

        return execute(start)

    def trace(self, client_id: str) -> Deferred[TraceView]:
        return execute(self._services.traces.view, client_id)

    def read_trace(
        self, client_id: str, number: int, form: TraceForm, start: int
    ) -> Deferred[TraceSlice]:
        return execute(self._services.traces.slice, client_id, number, form, start)

    def forget_trace(self, client_id: str) -> Deferred[None]:
        return execute(self._services.traces.forget, client_id)

    def request_call(self, caller_mac: str, target_mac: str, nickname: str) -> Deferred[CallResult]:
        return execute(self._calls.request, caller_mac, target_mac, nickname)

    def accept_call(self, mac: str) -> Deferred[CallResult]:
        return execute(self._calls.accept, mac)

    def backends(self) -> Deferred[tuple[BackendView, ...]]:
        def look() -> tuple[BackendView, ...]:
            now = self._services.clock.seconds()
            ahead = self._services.now() - now
            known = self._services.backends.known()
            return tuple(_backend(server, groups, now, ahead) for server, groups in known)

        return execute(look)

    def drain_backend(self, url: str, draining: bool) -> Deferred[None]:
        return execute(self._services.backends.drain, url, draining)

    def status(self) -> Deferred[Status]:
        def look() -> Status:
            uptime = self._services.clock.seconds() - self._since
            return status(self._gateway, self._version, uptime, self._counted(), self._held())

        return execute(look)

    def totals(self) -> Deferred[Totals]:
        return execute(self._services.tally.current)

    def drain(self) -> Deferred[Remaining]:
        def start() -> Remaining:
            self._gateway.drain()
            limits = self._services.limits
            return Remaining(len(self._devices) + limits.expected, limits.sessions)

        return execute(start)

    def _with(self, client_id: str, act: Callable[[Device], T]) -> Deferred[T]:
        device = self._devices.get(client_id)
        return _not_connected() if device is None else execute(act, device)

    def _view(self, device: Device) -> DeviceView:
        return view(device, self._services)

    def _page(self, which: Filter, after: str, limit: int) -> Page:
        matching = [d for client_id, d in self._devices.items() if _matches(d, which)]
        behind = (d for d in matching if d.peer.client_id > after)
        chosen = heapq.nsmallest(limit + 1, behind, key=lambda d: d.peer.client_id)
        more = len(chosen) > limit
        views = tuple(self._view(device) for device in chosen[:limit])
        return Page(views, views[-1].client_id if more else None, len(matching))


def _matches(device: Device, which: Filter) -> bool:
    identity = device.peer.identity
    return (
        which.group in (None, identity.group)
        and which.presence in (None, device.presence)
        and (which.mac_prefix is None or identity.mac.lower().startswith(which.mac_prefix))
    )


def _backend(server: Server, groups: tuple[str, ...], now: float, ahead: float) -> BackendView:
    """
    Args:
        now: clock seconds; ahead: unix time minus these.
    """
    state = BackendState.FAILING if server.failures else BackendState.UP
    return BackendView(
        url=server.shown,
        groups=groups,
        weight=server.weight,
        sessions=server.sessions,
        failures=server.failures,
        state=BackendState.DRAINING if server.draining else state,
        last_error=server.last_error,
        next_try=server.retry_at + ahead if server.retry_at > now else None,
    )


def _not_connected() -> Deferred[Any]:
    return execute(_raise_not_connected)


def _raise_not_connected() -> None:
    raise NotConnected("device is not connected")
