"""What the bench tells the processes of its fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Address = tuple[Any, ...]  # as the socket module has it


@dataclass(frozen=True, slots=True)
class Role:
    """Who a process of the fleet is; the first it is told.

    Attributes:
        first: its devices' numbers begin here.
        family, gateway: where devices connect over MQTT.
        server_family, server: where its chat server listens, as do those of its siblings.
        key: what passwords are signed with.
        frame_ms, frame_bytes: of each Opus packet.
        rate: steps (connections, hellos) per second.
    """

    first: int
    family: int
    gateway: Address
    server_family: int
    server: Address
    key: str = field(repr=False)
    frame_ms: int
    frame_bytes: int
    rate: float


@dataclass(frozen=True, slots=True)
class Connect:
    """Have so many devices connected; answered with Steps."""

    devices: int


@dataclass(frozen=True, slots=True)
class Open:
    """Have a session open for each device; answered with Steps."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Keep only so many devices; answered with Steps."""

    devices: int


@dataclass(frozen=True, slots=True)
class Count:
    """Say how many sessions the chat server has."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Send audio; answered with a Tally of what was sent within the window. All times are ns.

    Attributes:
        up, down: in which directions.
        start: of the load; each process has its own phase.
        begin, end: of the window.
        finish: of the load; until then frames of the window may arrive.
    """

    up: bool
    down: bool
    start: int
    begin: int
    end: int
    finish: int


Order = Connect | Open | Leave | Count | Talk
