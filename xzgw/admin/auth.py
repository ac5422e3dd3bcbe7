"""Who may use the admin API: the bearer of a token that is good for one day.

The token is made of the date and the signature key, see wire.credentials.daily_token. Callers and
the gateway may disagree about the date, so the gateway's local date and the UTC date both count,
and around midnight the neighbouring day.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from xzgw.admin.clients import Network, client_address
from xzgw.admin.problems import Refusal
from xzgw.wire import credentials

GRACE = 300  # s before and after midnight


class Tokens:
    """The tokens that are good at this moment."""

    def __init__(
        self,
        key: Callable[[], str],
        now: Callable[[], float],
        localtime: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        """
        Args:
            key: the signature key as configured now; with an empty one no token is good.
            now: unix time.
            localtime: local calendar time of a unix time.
        """
        self._key = key
        self._now = now
        self._localtime = localtime
        self._made_of: tuple[str, frozenset[date]] = ("", frozenset())
        self._tokens: tuple[bytes, ...] = ()

    def accept(self, shown: bytes) -> bool:
        """Whether this is a good token, in time that tells nothing about the good ones."""
        good = False
        for token in self._good():
            good |= hmac.compare_digest(token, shown)
        return good

    def _good(self) -> tuple[bytes, ...]:
        key, dates = self._key(), self._dates()
        if (key, dates) != self._made_of:
            made = (credentials.daily_token(key, day) for day in dates if key)
            self._tokens = tuple(token.encode("ascii") for token in made)
            self._made_of = (key, dates)
        return self._tokens

    def _dates(self) -> frozenset[date]:
        now = self._now()
        dates = set()
        for moment in (now - GRACE, now, now + GRACE):
            local = self._localtime(moment)
            dates.add(date(local.tm_year, local.tm_mon, local.tm_mday))
            dates.add(datetime.fromtimestamp(moment, UTC).date())
        return frozenset(dates)


class OneToken:
    """The one token that is configured."""

    def __init__(self, token: Callable[[], str | None]) -> None:
        """Take the token as configured now; with None none is good."""
        self._token = token

    def accept(self, shown: bytes) -> bool:
        """Whether this is it, in time that tells nothing about it."""
        token = self._token()
        return bool(token) and hmac.compare_digest(str(token).encode(), shown)


class Accepting(Protocol):
    """What judges tokens."""

    def accept(self, shown: bytes) -> bool: ...


class Guard:
    """Lets the right ones in at once; tells those who guess too often late that it was wrong."""

    def __init__(
        self,
        tokens: Accepting,
        wrong: Callable[[str], float],
        trusted: Callable[[], Collection[Network]],
        clock: IReactorTime,
        reason: str = "wrong token; it changes each day",
    ) -> None:
        """
        Args:
            wrong: notes a wrong token from this address; seconds to wait before the answer.
            trusted: the proxies whose X-Forwarded-For is believed, as configured now.
            reason: what is told about a wrong token.
        """
        self._reason = reason
        self._tokens = tokens
        self._trusted = trusted
        self._wrong = wrong
        self._clock = clock

    async def admit(self, request: Request) -> None:
        """
        Raises:
            Refusal: 401.
        """
        token = _bearer(request)
        if token is None:
            raise _unauthorized("a bearer token is needed")
        if not self._tokens.accept(token):
            delay = self._wrong(self._client(request))
            if delay:
                await deferLater(self._clock, delay)
            raise _unauthorized(self._reason)

    def _client(self, request: Request) -> str:
        return client_address(*way_of(request), self._trusted())


def way_of(request: Request) -> tuple[str, list[str]]:
    """Who is connected, empty for a UNIX socket, and the values of X-Forwarded-For."""
    # As bytes: asked for text, Twisted raises an error over what is not UTF-8.
    values = request.requestHeaders.getRawHeaders(b"X-Forwarded-For", [])
    peer = getattr(request.getClientAddress(), "host", "")
    return peer, [value.decode("latin-1") for value in values]


def _bearer(request: Request) -> bytes | None:
    headers = request.requestHeaders.getRawHeaders(b"Authorization", [])
    scheme, _, token = headers[0].partition(b" ") if len(headers) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else None


def _unauthorized(reason: str) -> Refusal:
    return Refusal(401, reason, {"WWW-Authenticate": "Bearer"})
