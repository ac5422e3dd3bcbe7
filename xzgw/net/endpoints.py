"""Endpoint strings become endpoints: `haproxy:` and `ssl:` are ours, everything else is Twisted's.

What stands first in the string comes first on the wire: in `haproxy:ssl:...` the proxy's header,
then TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from xzgw.core.listening import parse_tls
from xzgw.core.sayings import Saying

Wrap = Callable[[IProtocolFactory], IProtocolFactory]


class Tls(Protocol):
    """TLS with a certificate from files."""

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        """Put TLS before a factory's connections."""

    def reload(self) -> None:
        """Read the files again, for connections to come."""

    def advice(self) -> list[Saying]:
        """What is wrong with the certificate, or will be soon."""

    def look(self) -> None:
        """Warn of that now and then."""


class Endpoints:
    """Makes endpoints, and knows those whose certificates can be exchanged."""

    def __init__(self, reactor: Any, tls: Callable[[str, str, str | None], Tls]):
        """
        Args:
            tls: reads the files of private key, certificate and further chain.
        """
        self._reactor = reactor
        self._tls = tls
        self._certificates: list[Tls] = []

    def make(self, description: str, proxied: Wrap) -> IStreamServerEndpoint:
        """The endpoint that a string describes; the files that it names are read.

        Args:
            proxied: puts PROXY headers before a factory's connections.
        Raises:
            ValueError, TypeError: no such endpoint; and whatever `tls` raises.
        """
        wraps: list[Wrap] = []
        kind, _, rest = description.partition(":")
        while kind in ("haproxy", "ssl"):
            if kind == "ssl":
                wrap, rest = self._make_tls(rest)
            else:
                wrap = proxied
            wraps.append(wrap)
            description = rest
            kind, _, rest = description.partition(":")
        return _Wrapped(serverFromString(self._reactor, description), wraps)

    def reload(self) -> None:
        """Read all certificates again."""
        for certificate in self._certificates:
            certificate.reload()

    def advice(self) -> list[Saying]:
        """What is wrong with certificates, or will be soon; each thing once."""
        found = (line for certificate in self._certificates for line in certificate.advice())
        return list(dict.fromkeys(found))

    def look(self) -> None:
        """Warn of that now and then."""
        for certificate in self._certificates:
            certificate.look()

    def _make_tls(self, arguments: str) -> tuple[Wrap, str]:
        listener = parse_tls(arguments)
        tls = self._tls(listener.private_key, listener.certificate, listener.chain)
        self._certificates.append(tls)
        return tls.wrap, listener.inner


@implementer(IStreamServerEndpoint)
class _Wrapped:
    """An endpoint whose connections pass something on their way to the factory."""

    def __init__(self, endpoint: IStreamServerEndpoint, wraps: Sequence[Wrap]) -> None:
        """
        Args:
            wraps: that nearest to the wire first.
        """
        self._endpoint = endpoint
        self._wraps = wraps

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        for wrap in reversed(self._wraps):
            protocolFactory = wrap(protocolFactory)
        return self._endpoint.listen(protocolFactory)
