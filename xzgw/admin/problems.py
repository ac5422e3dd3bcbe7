"""Answers, good and bad: JSON bodies, and what each kind of failure looks like to the caller.

Two dialects: paths under /api/ keep the keys that their callers know (`success`, `error`); all
others answer with problem details. Source: RFC 9457.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from xzgw.core.door import Conflict, NoSuchBackend, NotConnected
from xzgw.core.mcp import McpClosed, McpError, McpTimeout
from xzgw.core.trace_types import NoSuchTrace, TooManyTraces
from xzgw.wire import messages
from xzgw.wire.messages import Json

JSON = "application/json; charset=utf-8"
PROBLEM = "application/problem+json; charset=utf-8"

_log = Logger()


class Refusal(Exception):
    """An answer that is no success. str() is the reason, in words fit for the caller."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers or {}


def reply(
    request: Request, value: Mapping[str, object], status: int = 200, content_type: str = JSON
) -> bytes:
    """Set status and headers for this JSON object; returns the body to write."""
    body = messages.encode(value)
    request.setResponseCode(status)
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(len(body)))
    return body


def no_content(request: Request) -> bytes:
    """A success that has nothing to say."""
    request.setResponseCode(HTTPStatus.NO_CONTENT)
    return b""


def refuse(request: Request, failure: Failure) -> bytes:
    """Answer with whatever went wrong; returns the body to write.

    An error that is no answer of ours is a fault of the gateway: it is logged, and the caller
    learns nothing but that.
    """
    refusal = _refusal(failure.value)
    if refusal is None:
        _log.failure("fault of the admin API", failure)
        refusal = Refusal(500, "the gateway has a fault; its log has the details")
    for name, value in refusal.headers.items():
        request.setHeader(name, value)
    if request.method == b"OPTIONS" and refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return no_content(request)  # its question is answered by the Allow header
    body, content_type = error_body(request.path, refusal.status, str(refusal))
    return reply(request, body, refusal.status, content_type)


def _refusal(error: BaseException | None) -> Refusal | None:
    match error:
        case Refusal():
            return error
        case NotConnected():
            return Refusal(404, "no device with this client id is connected")
        case NoSuchBackend():
            return Refusal(404, str(error))
        case NoSuchTrace():
            return Refusal(404, "there is no trace of this device")
        case Conflict():
            return Refusal(409, str(error))
        case TooManyTraces():
            return Refusal(429, str(error))
        case McpError():
            return Refusal(502, str(error))
        case McpClosed():
            return Refusal(503, "the device has disconnected")
        case McpTimeout():
            return Refusal(504, str(error))
        case MethodNotAllowed():
            methods = sorted({"OPTIONS", *(error.valid_methods or ())})
            return Refusal(405, "no such method here", {"Allow": ", ".join(methods)})
        case HTTPException():  # not found, or a redirect to a path that its caller did not mean
            return Refusal(404, "no such path")
    return None


def error_body(path: bytes, status: int, reason: str) -> tuple[Json, str]:
    """What a refusal has to say to the caller of a path, and the content type of that."""
    if path.startswith(b"/api/"):
        return {"success": False, "error": reason}, JSON
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": reason}, PROBLEM
