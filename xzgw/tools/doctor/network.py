"""The network's part of a connection: names, TCP, TLS. All of it blocks, in a thread of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, TypeVar

from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure

from xzgw.wire.certificates import read_certificates

T = TypeVar("T")


def in_thread(reactor: Any, call: Callable[[], T], seconds: float) -> Deferred[T]:
    """Fire with what a blocking call gives; errbacks with TimeoutError after so many seconds.

    The thread does not keep the process from ending: a name server may be silent for long.
    """
    result: Deferred[T] = Deferred()

    def deliver(outcome: Any) -> None:
        if not result.called:
            result.callback(outcome)

    def work() -> None:
        outcome: Any
        try:
            outcome = call()
        except Exception:
            outcome = Failure()  # for whoever waits
        reactor.callFromThread(deliver, outcome)

    def too_late(_value: object, _seconds: float) -> T:
        raise TimeoutError(f"nothing within {seconds:g} s")

    Thread(target=work, daemon=True).start()
    return result.addTimeout(seconds, reactor, onTimeoutCancel=too_late)


def resolve(host: str, port: int, kind: int = socket.SOCK_STREAM) -> list[str]:
    """The IP addresses of a host, the preferred one first. Raises OSError, UnicodeError."""
    found = socket.getaddrinfo(host, port, type=kind)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect(
    addresses: Sequence[str], port: int, seconds: float
) -> tuple[str | None, dict[str, OSError]]:
    """Open and close a TCP connection to the first address that takes one.

    Returns:
        That address, or None, and why those before it did not.
    """
    failures: dict[str, OSError] = {}
    for address in addresses:
        try:
            socket.create_connection((address, port), seconds).close()
        except OSError as e:
            failures[address] = e
        else:
            return address, failures
    return None, failures


def handshake(address: str, port: int, host: str, authorities: bytes | None, seconds: float) -> str:
    """A TLS handshake whose certificate must be for the host.

    Args:
        authorities: PEM; None for those that this system trusts.
    Returns:
        The version that was agreed on.
    Raises:
        ssl.SSLError, OSError
    """
    pem = authorities.decode("latin-1") if authorities is not None else None
    context = ssl.create_default_context(cadata=pem)
    with (
        socket.create_connection((address, port), seconds) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        return wrapped.version() or "TLS"


def client_tls(host: str, authorities: bytes | None) -> IOpenSSLClientConnectionCreator:
    """The same trust for Twisted. Raises CertificateError if there is no certificate in the PEM."""
    root: Any = platformTrust()
    if authorities is not None:
        found = read_certificates(authorities)
        root = trustRootFromCertificates([Certificate(X509.from_cryptography(c)) for c in found])
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(host, trustRoot=root)
    return creator


def words(error: BaseException) -> str:
    """An error of the network, without its number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "the handshake failed"
        return str(reason).lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
