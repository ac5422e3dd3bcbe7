"""How much the gateway takes on, and how it is emptied: the settings and their values."""

from __future__ import annotations

from dataclasses import dataclass

from xzgw.settings import checks as checks
from xzgw.settings.checks import Kind
from xzgw.settings.sources import Setting, Sources


def _number(name: str, low: int, high: int, default: int) -> Setting[int]:
    kind = Kind(checks.number(low, high), checks.read_number)
    return Setting(name, kind, default, name.replace("_", "-"), (f"XZGW_{name.upper()}",))


MAX_CONNECTIONS = _number("max_connections", 1, 1_000_000, 50_000)
MAX_PER_ADDRESS = _number("max_connections_per_address", 0, 1_000_000, 0)
MAX_CONNECTS = _number("max_connects_per_second", 1, 1_000_000, 1_000)
MAX_UNAUTHENTICATED = _number("max_unauthenticated", 1, 1_000_000, 5_000)
MAX_SESSIONS = _number("max_sessions", 1, 1_000_000, 10_000)
MAX_API_CONNECTIONS = _number("max_api_connections", 1, 100_000, 200)
DRAIN_SECONDS = _number("drain_seconds", 0, 86_400, 300)
DRAIN_RATE = _number("drain_rate", 1, 100_000, 50)

ALL = (
    MAX_CONNECTIONS,
    MAX_PER_ADDRESS,
    MAX_CONNECTS,
    MAX_UNAUTHENTICATED,
    MAX_SESSIONS,
    MAX_API_CONNECTIONS,
    DRAIN_SECONDS,
    DRAIN_RATE,
)


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits; beyond them, who is new is refused, and who is here is served.

    Attributes:
        max_connections: devices connected at a time.
        max_connections_per_address: the same of one IP address; 0 for no limit.
        max_connects_per_second: new connections, and as many at once.
        max_unauthenticated: connections at a time that have not shown good credentials yet.
        max_sessions: sessions at a time, those being opened included.
        max_api_connections: of the admin API at a time, readers of events and idle ones included.
        drain_seconds: how long open sessions may last when the gateway is drained.
        drain_rate: devices let go per second then.
    """

    max_connections: int = MAX_CONNECTIONS.default
    max_connections_per_address: int = MAX_PER_ADDRESS.default
    max_connects_per_second: int = MAX_CONNECTS.default
    max_unauthenticated: int = MAX_UNAUTHENTICATED.default
    max_sessions: int = MAX_SESSIONS.default
    max_api_connections: int = MAX_API_CONNECTIONS.default
    drain_seconds: int = DRAIN_SECONDS.default
    drain_rate: int = DRAIN_RATE.default


def read_limits(sources: Sources) -> LimitsConfig:
    """The limits that the sources have."""
    return LimitsConfig(**{setting.key: sources.value(setting) for setting in ALL})
