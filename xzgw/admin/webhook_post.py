"""One try to deliver one event to one webhook."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import ConnectionAborted
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from xzgw import __version__

PATIENCE = 10.0  # s until the answer's head
BODY_PATIENCE = 1.0  # s for its body, which nobody reads
BODY = 64 * 1024  # bytes of it
ANSWER = BODY + 16 * 1024  # bytes of all of an answer
WHY = 200  # characters about what went wrong
_CODE_AT = len(b"HTTP/1.1 ")

# What `treq.post` is: url; data, headers, allow_redirects, unbuffered; an IResponse.
Post = Callable[..., Deferred[Any]]


class Undelivered(Exception):
    """The receiver did not take it. str() says why."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way.

    Attributes:
        id: the event's.
        body: JSON.
    """

    id: str
    kind: str
    body: bytes


def poster(reactor: Any) -> Post:
    """The real `Post`. No connection is kept, and no cookie."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor), pool)

    def post(url: str, **arguments: Any) -> Deferred[Any]:
        # A client of its own, because a client keeps cookies for good.
        return HTTPClient(agent).post(_Address.from_text(url), **arguments)

    return post


class _Address(EncodedURL):
    """A URL that is ASCII already; to_uri would refuse IPv6 addresses (hyperlink issue 188)."""

    def to_uri(self) -> _Address:
        return self


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Connections as HTTP clients of Twisted make them, without two lines in the log for each."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._trust = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        # HostnameEndpoint refuses underscores, which names of containers have.
        kind = TCP4ClientEndpoint if b"_" in uri.host else HostnameEndpoint
        endpoint: Any = kind(self._reactor, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._trust.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Quiet(endpoint)


@implementer(IStreamClientEndpoint)
class _Quiet:
    """An endpoint whose factories do not log that they are started and stopped, and whose
    connections are bounded."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory).addCallback(_bounded)


def _bounded(protocol: Any) -> Any:
    """Let an HTTP client have one answer of so many bytes.

    Twisted's has no bound for heads, and none for interim answers (1xx), each of which it logs.
    """
    take, size, start = protocol.dataReceived, 0, b""

    def received(data: bytes) -> None:
        nonlocal size, start
        size, start = size + len(data), (start + data[: _CODE_AT + 1])[: _CODE_AT + 1]
        if size > ANSWER or start[_CODE_AT:] == b"1":
            protocol.abort()
        else:
            take(data)

    protocol.dataReceived = received
    return protocol


def signature(secret: str, body: bytes) -> str:
    """The value of `X-Xzgw-Signature`."""
    return f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"


async def deliver(
    post: Post, clock: IReactorTime, url: str, secret: str | None, delivery: Delivery
) -> None:
    """Try once.

    Raises:
        Undelivered: any answer but 2xx, or none in time.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"xzgw/{__version__}",
        "X-Xzgw-Event": delivery.kind,
        "X-Xzgw-Delivery": delivery.id,
    }
    if secret is not None:
        headers["X-Xzgw-Signature"] = signature(secret, delivery.body)
    try:
        answer = post(
            url, data=delivery.body, headers=headers, allow_redirects=False, unbuffered=True
        )
        response: IResponse = await _cancellable(answer).addTimeout(PATIENCE, clock)
    except CancelledError:
        raise
    except Exception as error:  # whatever network, name service and TLS come up with
        raise Undelivered(_why(error)) from None
    rest = _Rest()
    response.deliverBody(rest)
    await rest.done.addTimeout(BODY_PATIENCE, clock, lambda *_: None)
    if not 200 <= response.code < 300:
        raise Undelivered(f"answered with status {response.code}")


def _cancellable(answer: Deferred[Any]) -> Deferred[Any]:
    """The same answer, which fails with CancelledError when cancelled: treq's may wrap that."""

    def cancel(outer: Deferred[Any]) -> None:
        outer.errback(CancelledError())
        answer.cancel()

    def relay(result: object) -> None:
        if not outer.called:
            outer.callback(result)

    outer: Deferred[Any] = Deferred(cancel)
    answer.addBoth(relay)
    return outer


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {PATIENCE:g} s"
    # HTTP clients of Twisted wrap what happened to the connection.
    reasons = getattr(error, "reasons", None) or [Failure(error)]
    if reasons[0].check(ConnectionAborted):
        return "its answer is none, or too long"
    why = reasons[0].getErrorMessage()[:WHY] or type(error).__name__
    return "".join(c if c.isprintable() else " " for c in why)


class _Rest(Protocol):
    """Lets an answer's body pass by, so that the receiver need not fail to write it."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._stop())
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > BODY:
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.done.callback(None)

    def _stop(self) -> None:
        self.transport.loseConnection()
