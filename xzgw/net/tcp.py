"""What every TCP connection of a device gets, and how its ends are called."""

from __future__ import annotations

import socket
from typing import Any

from twisted.protocols.policies import ProtocolWrapper

from xzgw.wire.addresses import short_ip

LOCAL = "local"  # what the peer at a UNIX socket is called
# Of TCP: s of silence before the first probe, s between probes, probes without an answer.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
# Not every system has all of them.
KEEP_ALIVE = {getattr(socket, name): n for name, n in _KEEP_ALIVE if hasattr(socket, name)}


def host_of(address: Any) -> str:
    """The IP address, or LOCAL for a UNIX socket, which has none."""
    return short_ip(getattr(address, "host", LOCAL))


def prepare(transport: Any) -> None:
    """Send without delay, and let the kernel find out, in two minutes or so, that nobody is at
    the other end any more. A UNIX socket needs neither."""
    if host_of(transport.getPeer()) == LOCAL:
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    while isinstance(transport, ProtocolWrapper):  # TLS
        transport = transport.transport
    handle: Any = transport.getHandle()
    for option, value in KEEP_ALIVE.items():
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
