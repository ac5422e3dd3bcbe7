"""Connecting to a host by name, such that one slow name server holds up nobody else.

The reactor's own resolver has few threads, shared by all lookups, and waits for them at the end of
the process; it also refuses names with an underscore, which containers are often given. Here each
name has at most one lookup at a time, in a thread of its own that nothing waits for, and what the
last one found serves for a while, and while the name server does not answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

FRESH = 30.0  # s that found addresses are used without asking again
IP_TIME = 30  # s for the connection to one address; whoever dials has his own, shorter limit

Lookup = Callable[[str], list[str]]


class Resolver:
    """The IP addresses of host names."""

    def __init__(self, reactor: Any, lookup: Lookup | None = None) -> None:
        """
        Args:
            lookup: blocks until it has the addresses of a name, best first; raises OSError.
        """
        self._reactor = reactor
        self._lookup = lookup or _system_lookup
        self._found: dict[str, tuple[float, list[str]]] = {}
        self._waiting: dict[str, list[Deferred[list[str]]]] = {}

    def resolve(self, host: str) -> Deferred[list[str]]:
        """The addresses of a host, best first; an address is its own. Fails with OSError.

        Cancelling stops the waiting, not the lookup.
        """
        if _is_ip(host):
            return succeed([host])
        at, found = self._found.get(host, (0.0, []))
        if found and self._reactor.seconds() - at < FRESH:
            return succeed(found)
        if host not in self._waiting:
            self._waiting[host] = []
            threading.Thread(target=self._work, args=(host,), daemon=True).start()
        if found:
            return succeed(found)  # better old than late; the lookup goes on
        waiting = self._waiting[host]
        answer: Deferred[list[str]] = Deferred(waiting.remove)
        waiting.append(answer)
        return answer

    def _work(self, host: str) -> None:
        """In a thread."""
        try:
            result: list[str] | OSError = self._lookup(host)
        except OSError as error:
            result = error
        except UnicodeError:
            result = OSError("no valid host name")
        self._reactor.callFromThread(self._finish, host, result)

    def _finish(self, host: str, result: list[str] | OSError) -> None:
        if not isinstance(result, OSError):
            self._found[host] = (self._reactor.seconds(), result)
        waiting = self._waiting.pop(host)
        while waiting:  # cancelling one takes it out of the list
            answer = waiting.pop(0)
            if isinstance(result, OSError):
                answer.errback(result)
            else:
                answer.callback(result)


@implementer(IStreamClientEndpoint)
class NamedEndpoint:
    """A TCP client endpoint that tries a host's addresses one after the other."""

    def __init__(self, reactor: Any, resolver: Resolver, host: str, port: int) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._host = host
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        problem: Exception = OSError(f"no address for {self._host}")
        for address in await self._resolver.resolve(self._host):
            endpoint = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            try:
                return await endpoint(self._reactor, address, self._port, IP_TIME).connect(factory)
            except ConnectError as error:
                problem = error
        raise problem


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _system_lookup(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
