"""Where to listen when nobody says at which address: for IPv6 and IPv4 at once if that is possible.

It is on a host with IPv6 where a socket at `::` takes IPv4 as well, which is the usual case on
Linux (unless net.ipv6.bindv6only is set). Anywhere else it is IPv4 alone.
"""

from __future__ import annotations

import socket
from functools import cache


@cache
def any_address() -> str:
    """`::` for both families, empty for IPv4 alone."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            only = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.bind(("::", 0))
    except OSError:
        return ""
    return "" if only else "::"


def everywhere(port: int) -> str:
    """The endpoint string for a TCP port at all addresses."""
    return f"tcp6:{port}" if any_address() else f"tcp:{port}"
