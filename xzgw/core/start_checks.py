"""What can be known to be unwise before any device comes; told at start-up and by the doctor.

Each check gives a clause in plain words, or None if it finds nothing.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

RECEIVE_BUFFER = 4 * 1024 * 1024  # bytes; a burst of all devices at once must fit

# Networks that container engines make by default, and that are rare elsewhere.
_CONTAINERS = {
    ip_network("172.17.0.0/16"): "Docker's own network",
    ip_network("10.88.0.0/16"): "Podman's own network",
}


def drawback(host: str) -> str | None:
    """Why devices elsewhere cannot send audio to this IP address or host name, as far as it shows.

    Returns:
        A clause whose subject is the address.
    """
    if host.lower().rstrip(".") == "localhost":
        return "is the loopback address, which no other machine reaches"
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return _drawback(address)


def _drawback(address: IPv4Address | IPv6Address) -> str | None:
    if address.is_unspecified:
        return "is no address that one can send to"
    if address.is_loopback:
        return "is the loopback address, which no other machine reaches"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "is the address of many machines, not of one"
    if address.is_link_local:
        return "is a link-local address, which only neighbours on one cable reach"
    for network, whose in _CONTAINERS.items():
        if address in network:
            return f"is in {whose}: a container's address, which no other machine reaches"
    return None


def small_buffer(granted: int) -> str | None:
    """What to do about a receive buffer for audio that is smaller than wished.

    Args:
        granted: bytes, as SO_RCVBUF says after RECEIVE_BUFFER was asked for.
    """
    if granted >= RECEIVE_BUFFER:
        return None
    return (
        f"the system grants a receive buffer of {granted // 1024} KiB for audio over UDP,"
        f" {RECEIVE_BUFFER // 1024} KiB are wished: bursts of many devices may lose packets;"
        f" sysctl -w net.core.rmem_max={RECEIVE_BUFFER} raises the limit"
    )
