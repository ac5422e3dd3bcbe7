"""Request bodies: one JSON object each, of bounded size."""

from __future__ import annotations

from typing import Any

from twisted.web.server import Request

from xzgw.admin.problems import Refusal
from xzgw.wire import messages
from xzgw.wire.messages import Json

MAX_BODY = 64 * 1024  # bytes


def read_object(request: Request) -> Json:
    """The body as a JSON object.

    Raises:
        Refusal: 415, 413 or 400.
    """
    kind = _header(request, b"content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the body must be application/json")
    if _header(request, b"content-encoding").lower() not in ("", "identity"):
        raise Refusal(415, "the body must not be compressed")
    content: Any = request.content  # always there while a request is processed
    body: bytes = content.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise Refusal(413, f"the body must have at most {MAX_BODY} bytes")
    try:
        return messages.parse(body)
    except messages.MessageError as error:
        raise Refusal(400, f"the body is {error}") from None


def _header(request: Request, name: bytes) -> str:
    """A header's value, empty if it is missing. Twisted raises an error if asked for one as text
    that is not UTF-8."""
    value: bytes | None = request.getHeader(name)
    return (value or b"").decode("latin-1")


def text(body: Json, name: str) -> str:
    """A member that must be a text of at least one character.

    Raises:
        Refusal: it is not.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, f"{name} must be a text that is not empty")
    return value


def optional_text(body: Json, name: str) -> str:
    """A member that may be missing or null; then it is empty.

    Raises:
        Refusal: it is there but not a text.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, f"{name} must be a text")
    return value or ""
