"""What webhooks are sent to in tests: a real web resource that answers as it is told."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

Answer = Callable[[Request], bytes | int]


@dataclass(frozen=True, slots=True)
class Received:
    """One request.

    Attributes:
        headers: by lower-case name.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def signed_with(self, secret: str) -> bool:
        digest = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers.get("x-xzgw-signature") == f"sha256={digest}"


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer at once."""

    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name, value)
        return body

    return answer


def hang(request: Request) -> int:
    """Never answer."""
    return NOT_DONE_YET


def hang_up(request: Request) -> int:
    """Close the connection instead of answering."""
    transport: Any = request.transport
    transport.abortConnection()
    return NOT_DONE_YET


class Receiver(Resource):
    """Notes each request and answers it.

    Attributes:
        requests: in the order in which they came.
        answers: for the next requests; when there are none left, `usual` counts.
        left: how many callers went away before they had their whole answer.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Received] = []
        self.answers: deque[Answer] = deque()
        self.usual: Answer = status(204)
        self.left = 0
        self._watchers: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def render(self, request: Request) -> bytes | int:
        request.notifyFinish().addErrback(self._leaves)
        assert request.content is not None
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.requests.append(
            Received(request.method.decode(), request.uri.decode(), headers, request.content.read())
        )
        answer = self.answers.popleft() if self.answers else self.usual
        self._changed()
        return answer(request)

    @property
    def numbers(self) -> list[int]:
        """Of the events that were received, repetitions included."""
        return [
            int(request.headers["x-xzgw-delivery"].rpartition("-")[2]) for request in self.requests
        ]

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire when it is so; looked at with each request, and each caller that leaves."""
        fired: Deferred[None] = Deferred()
        self._watchers.append((condition, fired))
        self._changed()
        return fired

    def _leaves(self, _: object) -> None:
        self.left += 1
        self._changed()

    def _changed(self) -> None:
        ready = [fired for condition, fired in self._watchers if condition()]
        self._watchers = [each for each in self._watchers if each[1] not in ready]
        for fired in ready:
            fired.callback(None)
