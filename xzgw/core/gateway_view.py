"""What is known of the gateway as a whole, as plain values."""

from __future__ import annotations

from collections.abc import Mapping

from xzgw.core.door import Limit, Status
from xzgw.core.gateway import Gateway
from xzgw.core.limits import REASONS
from xzgw.core.services import Services


def status(
    gateway: Gateway,
    version: str,
    uptime: float,
    counted: Mapping[str, int],
    held: Mapping[str, int],
) -> Status:
    """Everything, at the cost of a look at each device: 5 ms for 10,000 of them.

    Args:
        uptime: s.
        counted: what others than the gateway have counted.
        held: what they hold now.
    """
    services, limits = gateway.services, gateway.services.limits
    return Status(
        version=version,
        uptime=uptime,
        devices=limits.devices,
        unauthenticated=limits.unauthenticated,
        sessions=limits.sessions,
        api_connections=limits.api_connections,
        draining=limits.draining,
        stopping=gateway.stopping,
        troubles=tuple(gateway.troubles()),
        limits=_limits(services),
        refused={**dict.fromkeys(REASONS, 0), **limits.refused},
        counts={
            **{f"refused_{reason}": count for reason, count in gateway.refused_for.items()},
            "events": services.events.published,
            **counted,
        },
        held={**_held(gateway), **held},
    )


def _held(gateway: Gateway) -> dict[str, int]:
    services = gateway.services
    return {
        "channels": len(services.channels),
        "in_calls": gateway.calls.devices,
        "mcp_requests": sum(device.mcp.calls.pending for device in gateway.devices.values()),
        "servers": len(services.backends.known()),
        "timers": len(services.clock.getDelayedCalls()),
    }


def _limits(services: Services) -> dict[str, Limit]:
    limits, values = services.limits, services.config.limits
    return {
        "max_connections": Limit(values.max_connections, limits.devices),
        "max_connections_per_address": Limit(values.max_connections_per_address),
        "max_connects_per_second": Limit(values.max_connects_per_second),
        "max_unauthenticated": Limit(values.max_unauthenticated, limits.unauthenticated),
        "max_sessions": Limit(values.max_sessions, limits.sessions),
        "max_api_connections": Limit(values.max_api_connections, limits.api_connections),
    }
