"""What anybody may ask without a token: whether the gateway is well, and how its API is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from klein import Klein
from twisted.web.server import Request

from xzgw.admin.problems import JSON, reply
from xzgw.admin.routing import new_app

OPENAPI = Path(__file__).with_name("openapi.json")


class Health:
    """See the module's text."""

    app: Klein = new_app()

    def __init__(self, ready: Callable[[], Sequence[str]]) -> None:
        """Take what tells the reasons for not being ready; none means ready."""
        self._ready = ready
        self._openapi = OPENAPI.read_bytes()

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Request) -> bytes:
        """The process is alive: it answers."""
        return reply(request, {"status": "ok"})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: Request) -> bytes:
        """Whether devices should be sent here."""
        reasons = list(self._ready())
        if reasons:
            return reply(request, {"status": "not ready", "reasons": reasons}, 503)
        return reply(request, {"status": "ready", "reasons": []})

    @app.route("/openapi.json", methods=["GET"])
    def openapi(self, request: Request) -> bytes:
        """The description of this API."""
        request.setHeader("Content-Type", JSON)
        request.setHeader("Content-Length", str(len(self._openapi)))
        return self._openapi
