"""What the Klein applications of this package have in common."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.routing import BaseConverter

from xzgw.admin.problems import Refusal, refuse

_HOST = re.compile(rb"https?://[^/]*", re.IGNORECASE)


class Segment(BaseConverter):
    """One path segment of any content, a slash included: `<segment:name>` in a route."""

    def to_python(self, value: str) -> str:
        return unquote(value)


def new_app() -> Klein:
    """A Klein application whose failures are answered by problems.refuse."""
    app = Klein()
    app.url_map.converters["segment"] = Segment

    @app.handle_errors(Exception)
    def failed(self: object, request: Any, failure: Failure) -> bytes:
        return refuse(request, failure)

    return app


def make_canonical(request: Request) -> bytes:
    """Spell the request's path in the one way that routes match, and take its host away.

    Segments stay apart and percent-encoded, so that `%2F` is no separator. Klein routes by host,
    too, and stumbles over odd ones. An absolute URI counts as its path, RFC 9112 section 3.2.2.

    Returns:
        The path's first segment.
    Raises:
        Refusal: the path is not UTF-8.
    """
    absolute = _HOST.match(request.path)
    path = request.path[absolute.end() :] if absolute else request.path
    if path and not path.startswith(b"/"):
        path = b"//" + path  # no path at all, and not the root either
    try:
        segments = [
            quote(unquote_to_bytes(segment).decode("utf-8"), safe="").encode("ascii")
            for segment in path.split(b"/")[1:]
        ]
    except UnicodeDecodeError:
        raise Refusal(404, "no such path") from None
    request.path = b"/" + b"/".join(segments)
    request.prepath, request.postpath = [], segments
    request.requestHeaders.setRawHeaders(b"host", [b"gateway"])
    return segments[0] if segments else b""
