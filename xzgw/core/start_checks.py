"""What can be known to be unwise before any device comes; told at start-up and by the doctor.

Each check gives a clause in plain words, or None if it finds nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from xzgw.core.sayings import Saying, say

RECEIVE_BUFFER = 4 * 1024 * 1024  # bytes; a burst of all devices at once must fit

# Networks that container engines make by default, and that are rare elsewhere.
_CONTAINERS = {
    ip_network("172.17.0.0/16"): say("address_docker"),
    ip_network("10.88.0.0/16"): say("address_podman"),
}


def drawback(host: str) -> Saying | None:
    """Why devices elsewhere cannot send audio to this IP address or host name, as far as it shows.

    Returns:
        A clause whose subject is the address.
    """
    if host.lower().rstrip(".") == "localhost":
        return say("address_loopback")
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return _drawback(address)


def _drawback(address: IPv4Address | IPv6Address) -> Saying | None:
    if address.is_unspecified:
        return say("address_none")
    if address.is_loopback:
        return say("address_loopback")
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return say("address_many")
    if address.is_link_local:
        return say("address_link_local")
    for network, whose in _CONTAINERS.items():
        if address in network:
            return whose
    return None


def small_buffer(granted: int) -> Saying | None:
    """What to do about a receive buffer for audio that is smaller than wished.

    Args:
        granted: bytes, as SO_RCVBUF says after RECEIVE_BUFFER was asked for.
    """
    if granted >= RECEIVE_BUFFER:
        return None
    return say(
        "small_buffer",
        granted=granted // 1024,
        wished=RECEIVE_BUFFER // 1024,
        bytes=RECEIVE_BUFFER,
    )
