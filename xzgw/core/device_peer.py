"""Who is at the other end of an MQTT connection."""

from __future__ import annotations

from dataclasses import dataclass

from xzgw.wire.credentials import ClientId


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that has proved who it is.

    Attributes:
        ip: where its connection comes from, an IPv4 address in its short form.
        local_ip: the address of ours that the connection arrived at, likewise.
        keep_alive: seconds, 0 for none.
    """

    client_id: str
    identity: ClientId
    ip: str
    local_ip: str
    keep_alive: int = 0
