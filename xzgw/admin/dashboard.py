"""The dashboard: a page of files that never change, the same for everybody who asks.

The page is open to all, for it knows nothing; what it shows comes from the API, with a token that
whoever looks at it has to bring. Files are told by their exact names, so no path leads elsewhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from xzgw.admin.problems import Refusal, refuse

STATIC = Path(__file__).with_name("static")
PAGE = "index.html"
FOLDER = "/dashboard/"  # of all files but the page
METHODS = (b"GET", b"HEAD")

FILES = (
    PAGE,
    "alert_panel.js",
    "api.js",
    "app.js",
    "base.css",
    "checklist.js",
    "controls.css",
    "device.css",
    "device_facts.js",
    "device_view.js",
    "devices_view.js",
    "dom.js",
    "event_list.js",
    "events_view.js",
    "feed.js",
    "format.js",
    "i18n.js",
    "icon.svg",
    "lists.css",
    "overview_view.js",
    "phone.css",
    "plots.js",
    "roster.js",
    "sayings.js",
    "sayings_zh.js",
    "schema_form.js",
    "servers.js",
    "session_plots.js",
    "sheet.js",
    "signal.js",
    "sparkline.js",
    "sse.js",
    "stats.js",
    "texts.js",
    "tools_panel.js",
    "trace_panel.js",
    "virtual.js",
    "uplot/LICENSE",
    "uplot/uPlot.iife.min.js",
    "uplot/uPlot.min.css",
)

TYPES = {
    "": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Nothing makes markup or code of text, not even by mistake.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        etag: with its quotes.
    """

    content: bytes
    content_type: str
    etag: str


class Dashboard(Resource):
    """See the module's text."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self._files = {_path(name): _read(name) for name in FILES}

    def has(self, path: bytes) -> bool:
        """Whether this path, spelled as routing.make_canonical does, is one of its files."""
        return path in self._files

    def render(self, request: Request) -> bytes:
        """Answer for a path that it has."""
        if request.method not in METHODS:
            allowed = {"Allow": "GET, HEAD, OPTIONS"}
            return refuse(request, Failure(Refusal(405, "no such method here", allowed)))
        file = self._files[request.path]
        request.setHeader("Cache-Control", "no-cache")  # kept, but asked for before each use
        request.setHeader("ETag", file.etag)
        request.setHeader("Content-Security-Policy", POLICY)
        request.setHeader("Referrer-Policy", "no-referrer")
        if file.etag in _known(request):
            request.setResponseCode(304)
            return b""
        request.setHeader("Content-Type", file.content_type)
        request.setHeader("Content-Length", str(len(file.content)))
        return b"" if request.method == b"HEAD" else file.content  # or Twisted logs each HEAD


def _path(name: str) -> bytes:
    return b"/" if name == PAGE else f"{FOLDER}{name}".encode("ascii")


def _read(name: str) -> File:
    path = STATIC / name
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return File(content, TYPES[path.suffix], etag)


def _known(request: Request) -> set[str]:
    """The versions that the caller has; proxies that compress mark them as weak."""
    given = request.getHeader(b"if-none-match") or b""
    tags = given.decode("latin-1").split(",")
    return {tag.strip().removeprefix("W/") for tag in tags}
