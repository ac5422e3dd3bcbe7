"""What needs no token."""

from __future__ import annotations

from tests.admin import spec
from tests.admin.support import AdminTestCase


class HealthTests(AdminTestCase):
    """Nobody needs a token for these, and nobody who has one is refused."""

    def test_healthz(self) -> None:
        """Alive, ready or not."""
        self.reasons.append("starting")
        answer = self.ask("GET", "/healthz", token=None)
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))

    def test_readyz(self) -> None:
        """200 when there is no reason against it, else 503 with all of them."""
        answer = self.ask("GET", "/readyz", token=None)
        self.assertEqual((answer.status, answer.json), (200, {"status": "ready", "reasons": []}))
        self.reasons += ["draining", "no chat server can be reached"]
        answer = self.ask("GET", "/readyz", token="wrong")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json, {"status": "not ready", "reasons": self.reasons})
        self.assertEqual(self.wrong, [])

    def test_openapi(self) -> None:
        """The description is the file."""
        answer = self.ask("GET", "/openapi.json", token=None)
        self.assertEqual(answer.json, spec.DOCUMENT)
        self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
