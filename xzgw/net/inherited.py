"""Sockets that this process was given open: by systemd, by a supervisor, or by its predecessor.

For streams that is a matter of endpoint strings: Twisted's own `systemd:domain=INET6:index=N`, and
`fd:N`, which is made here. For UDP, Twisted has no strings.

Which sockets were passed in the way of systemd (LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, see
sd_listen_fds(3)) is asked of Twisted's `systemd:` endpoints: whoever imports them first removes
these variables from the environment.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpointStringParser
from twisted.internet.protocol import DatagramProtocol
from twisted.plugin import IPlugin
from zope.interface import implementer

Adopt = Callable[[DatagramProtocol], IListeningPort]


class HandoverError(Exception):
    """A socket that should have been handed over is not there or not fit; str() says which."""


@implementer(IPlugin, IStreamServerEndpointStringParser)
class DescriptorParser:
    """Endpoint strings `fd:N`: a listening stream socket of any family, by its number."""

    prefix = "fd"

    def parseStreamServer(
        self, reactor: Any, *args: object, **kwargs: object
    ) -> AdoptedStreamServerEndpoint:
        """Raises HandoverError for another string, and for a number that is no such socket."""
        number = str(args[0]) if len(args) == 1 and not kwargs else ""
        if not re.fullmatch("[0-9]{1,5}", number):
            raise HandoverError("want fd:N, N being the number of a file descriptor")
        fileno = int(number)
        family = _check(fileno, socket.SOCK_STREAM, "a listening stream socket")
        return AdoptedStreamServerEndpoint(reactor, fileno, family)


def adopter(reactor: Any, source: str) -> Adopt | None:
    """How to listen at a UDP socket that was handed over.

    Args:
        source: `fd:N`; `systemd:NAME`; `systemd` for the only UDP socket that was passed, which
            has to be asked for before any stream socket is; empty for none.
    Returns:
        Lets a protocol listen there, or raises HandoverError. None for none.
    """
    return (lambda protocol: _adopt(reactor, source, protocol)) if source else None


def _adopt(reactor: Any, source: str, protocol: DatagramProtocol) -> IListeningPort:
    kind, _, name = source.partition(":")
    if kind == "fd":
        fileno = int(name)
    else:
        fileno = _passed_as(reactor, name) if name else _only_datagram(reactor)
    family = _check(fileno, socket.SOCK_DGRAM, "a UDP socket with an address")
    os.set_blocking(fileno, False)
    port: IListeningPort = reactor.adoptDatagramPort(fileno, family, protocol)
    os.close(fileno)  # the port has its own copy
    return port


def _passed_as(reactor: Any, name: str) -> int:
    try:
        return _systemd(reactor, "name", name)
    except KeyError:
        raise HandoverError(f"no socket with the name {name} was passed") from None


def _only_datagram(reactor: Any) -> int:
    passed: list[int] = []
    try:
        while True:
            passed.append(_systemd(reactor, "index", str(len(passed))))
    except IndexError:
        pass
    found = [fileno for fileno in passed if _is_datagram(fileno)]
    if len(found) != 1:
        raise HandoverError(
            f"{len(passed)} sockets were passed, {len(found)} of them for UDP, want exactly one"
            " (LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say what is passed)"
        )
    return found[0]


def _systemd(reactor: Any, argument: str, value: str) -> int:
    text = f"systemd:domain=INET6:{argument}={quoteStringArgument(value)}"
    endpoint: Any = serverFromString(reactor, text)
    return int(endpoint.fileno)


def _is_datagram(fileno: int) -> bool:
    return _look(fileno)[1] == socket.SOCK_DGRAM


def _check(fileno: int, kind: int, want: str) -> int:
    """The family of a socket that is of this kind and ready to be used."""
    family, found, ready = _look(fileno)
    if found != kind or not ready:
        raise HandoverError(f"file descriptor {fileno} is not {want}")
    return family


def _look(fileno: int) -> tuple[int, int, bool]:
    """Family, kind, and whether it listens or, for UDP, has an address."""
    try:
        known = socket.socket(fileno=fileno)
    except OSError as error:
        raise HandoverError(f"file descriptor {fileno}: {error.strerror}") from None
    try:
        if known.type == socket.SOCK_STREAM:
            ready = bool(known.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        else:
            ready = known.family in (socket.AF_INET, socket.AF_INET6) and known.getsockname()[1] > 0
        return known.family, known.type, ready
    finally:
        known.detach()  # it stays open
