"""Where a request really comes from, when it has passed proxies of ours."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def client_address(peer: str, forwarded: Collection[str], trusted: Collection[Network]) -> str:
    """The address nearest to us that is not a trusted proxy's.

    Each proxy appends whom it was called by, so the list is read from its end; what a stranger
    has put into it before is never reached.

    Args:
        peer: who is connected; empty for a UNIX socket, which nobody is trusted at.
        forwarded: the values of all X-Forwarded-For headers, in order.
        trusted: the proxies.
    """
    address = _parse(peer)
    if address is None:
        return peer
    hops = ",".join(forwarded).split(",")
    while hops and any(address in network for network in trusted):
        before = _parse(hops.pop().strip())
        if before is None:
            break
        address = before
    return str(address)


def from_here(peer: str, forwarded: Collection[str], trusted: Collection[Network]) -> bool:
    """Whether everybody that a request has passed, its sender included, is on this machine.

    A proxy here that nobody has told us of may carry requests from anywhere; one that we trust
    tells from where.

    Args: as for `client_address`.
    """
    hops = [_parse(hop.strip()) for hop in ",".join(forwarded).split(",")] if forwarded else []
    address = _parse(peer)
    if any(each is None or not each.is_loopback for each in (address, *hops)):
        return False
    return not hops or any(address in network for network in trusted)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address, in its own form if it is an IPv4 address that IPv6 carries."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
