"""What TCP connections have in common: options, the names of their ends, a bounded backlog."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from OpenSSL import SSL
from twisted.python.failure import Failure

from xzgw.wire.addresses import short_ip

LOCAL = "local"  # what the peer at a UNIX socket is called
# Of TCP, and not every system has all of them. A silent peer is asked three times before it is
# given up: with TCP_USER_TIMEOUT, Linux looks at the time alone and no more at the count, so the
# first question must come well before the end of that time.
_OPTIONS = (
    ("TCP_KEEPIDLE", 30),  # s of silence before the first probe
    ("TCP_KEEPINTVL", 10),  # s between probes
    ("TCP_KEEPCNT", 3),  # probes without an answer
    ("TCP_USER_TIMEOUT", 60_000),  # ms that data sent, or a probe, may wait for an answer
)
OPTIONS = {getattr(socket, name): n for name, n in _OPTIONS if hasattr(socket, name)}


# linux/tcp.h, struct tcp_info: eight bytes, twelve numbers, then tcpi_last_ack_recv.
_TCP_INFO = struct.Struct("=56xI")


def host_of(address: Any) -> str:
    """The IP address, or LOCAL for a UNIX socket, which has none."""
    return short_ip(getattr(address, "host", LOCAL))


def accepted_at(transport: Any, now: float) -> float:
    """Clock seconds when a connection was accepted: that is now, unless it waited for its PROXY
    header."""
    since: float = getattr(transport, "accepted_at", now)
    return since


def quiet_for(transport: Any) -> float | None:
    """Seconds since the other end's TCP last acknowledged anything, a keep-alive probe included.

    None where that is not known, or would be said of a proxy.
    """
    if hasattr(transport, "accepted_at"):  # it came through a proxy
        return None
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    handle: Any = transport.getHandle()
    of_tcp = handle.family in (socket.AF_INET, socket.AF_INET6)
    if not of_tcp or not sys.platform.startswith("linux"):
        return None
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    milliseconds: int = _TCP_INFO.unpack(info)[0]
    return milliseconds / 1000


def prepare(transport: Any) -> None:
    """Send without delay, and let the kernel find out within a minute that nobody is at the other
    end any more, whether or not data is on its way there. A UNIX socket needs neither."""
    # Below TLS and a PROXY header; the latter's address says nothing about the socket's own kind.
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    handle: Any = transport.getHandle()
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    for option, value in OPTIONS.items():
        handle.setsockopt(socket.IPPROTO_TCP, option, value)


def explain(failure: Failure) -> str:
    """One line about a failed connection."""
    error = failure.value
    if isinstance(error, SSL.Error):
        reasons = error.args[0] if error.args else ()
        return "; ".join(str(reason[-1]) for reason in reasons) or "TLS error"
    return " ".join(str(error).split()) or type(error).__name__


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
