"""What TCP connections have in common: options, the names of their ends, a bounded backlog."""

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


class Backlog:
    """How much waits to be written to a peer that does not keep up reading (IPushProducer).

    The transport says pause when it holds 64 KiB, and resume when it holds nothing.
    """

    __slots__ = ("_limit", "_waiting", "paused")

    def __init__(self, limit: int) -> None:
        """Take the bytes that may wait."""
        self.paused = False
        self._limit = limit
        self._waiting = 0  # written since the pause

    def add(self, size: int) -> bool:
        """Count bytes about to be written; whether that is more than may wait."""
        self._waiting = self._waiting + size if self.paused else 0
        return self._waiting > self._limit

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self._waiting = 0

    def stopProducing(self) -> None:
        self.paused = True
