"""Connections through a proxy that tells, in a PROXY header, whom it speaks for.

Twisted has such a wrapper; it closes connections whose header does not arrive in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from xzgw.wire.addresses import short_ip
from xzgw.wire.proxy import Address, ProxyError, parse

HEADER_TIME = 5.0  # s from the connection to the end of its header
LOG_EVERY = 60.0  # s

# Counts one more connection that waits for its header, until the call that it returns; None if
# there is no room for it.
Enter = Callable[[], Callable[[], None] | None]


class Refusals:
    """Connections closed for want of a good header."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.total = 0
        self._clock = clock
        self._said_at: float | None = None
        self._said_total = 0

    def note(self, peer: IAddress, reason: str) -> None:
        """Count one; a line is logged at most every LOG_EVERY seconds."""
        self.total += 1
        now = self._clock.seconds()
        if self._said_at is not None and now < self._said_at + LOG_EVERY:
            return
        self._log.warn(
            "not through the proxy: {peer}: {reason}; connections closed for such since the last"
            " line: {count}",
            peer=short_ip(getattr(peer, "host", "local")),
            reason=reason,
            count=self.total - self._said_total,
        )
        self._said_at = now
        self._said_total = self.total


class ProxyProtocol(Protocol):
    """Waits for the header, then makes the real protocol and hands everything on to it."""

    transport: Any

    def __init__(self, owner: ProxyFactory) -> None:
        self._owner = owner
        self._received = b""
        self._timer: IDelayedCall | None = None
        self._inner: IProtocol | None = None
        self._over = False  # closed by us before there was an inner protocol
        self._since = 0.0  # clock seconds
        self._leave: Callable[[], None] | None = None  # while it waits

    def connectionMade(self) -> None:
        self._leave = self._owner.enter()
        if self._leave is None:
            self._over = True
            self.transport.abortConnection()
            return
        self._since = self._owner.clock.seconds()
        self._owner.waiting.add(self)
        late = f"no whole PROXY header within {HEADER_TIME:.0f} s"
        self._timer = self._owner.clock.callLater(HEADER_TIME, self._refuse, late)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._over:
            return
        self._received += data
        try:
            header = parse(self._received)
        except ProxyError as error:
            self._refuse(str(error))
            return
        # Most health checks say LOCAL or UNKNOWN and leave: no connection worth a mention.
        if header is None or (header.source is None and len(self._received) == header.size):
            return
        self._hand_over(header.size, header.source, header.destination)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if self._inner is not None:
            self._inner.connectionLost(reason)

    def _hand_over(self, size: int, source: Address | None, destination: Address | None) -> None:
        self._stop_waiting()
        rest, self._received = self._received[size:], b""
        peer = _address(source) or self.transport.getPeer()
        host = _address(destination) or self.transport.getHost()
        self._inner = self._owner.wrapped.buildProtocol(peer)
        if self._inner is None:
            self._over = True
            self.transport.loseConnection()
            return
        transport: Any = ProxiedTransport(self.transport, peer, host, self._since)
        self._inner.makeConnection(transport)
        if rest and not self.transport.disconnecting:
            self._inner.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._stop_waiting()
        self._over = True
        self._received = b""
        self._owner.refusals.note(self.transport.getPeer(), reason)
        self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        self._owner.waiting.discard(self)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class ProxiedTransport:
    """A transport as it is, but for its addresses.

    Attributes:
        accepted_at: clock seconds, for net.tcp.accepted_at.
    """

    def __init__(self, transport: Any, peer: IAddress, host: IAddress, accepted_at: float) -> None:
        self.accepted_at = accepted_at
        self._transport = transport
        self._peer = peer
        self._host = host
        directlyProvides(self, providedBy(transport))

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ProxyFactory(Factory):
    """Puts PROXY headers before another factory's connections, TLS included.

    Attributes:
        waiting: connections whose header is not there yet.
    """

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, clock: IReactorTime, refusals: Refusals, enter: Enter
    ) -> None:
        self.wrapped = wrapped
        self.clock = clock
        self.refusals = refusals
        self.enter = enter
        self.waiting: set[ProxyProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:
        return ProxyProtocol(self)

    def startFactory(self) -> None:
        self.wrapped.doStart()

    def stopFactory(self) -> None:
        for protocol in tuple(self.waiting):
            protocol.transport.abortConnection()
        self.wrapped.doStop()


def _address(address: Address | None) -> IPv4Address | IPv6Address | None:
    if address is None:
        return None
    kind = IPv6Address if ":" in address[0] else IPv4Address
    return kind("TCP", *address)
