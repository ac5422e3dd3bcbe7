"""Attacks from the chat server's side."""

from __future__ import annotations

from tests.hostile import cases_handshake
from tests.hostile.foul_server import ServerTestCase


class ServerTests(ServerTestCase):
    """One gateway for each kind of attack; the canary's own server is honest."""

    def test_handshake(self) -> None:
        """A server that gives no session costs its own devices theirs, and nobody else anything."""
        self.face(cases_handshake.CASES)
