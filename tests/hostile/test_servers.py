"""Attacks from the chat server's side."""

from __future__ import annotations

from tests.hostile import (
    cases_endings,
    cases_frames,
    cases_handshake,
    cases_torrents,
    cases_words,
)
from tests.hostile.foul_server import ServerTestCase


class ServerTests(ServerTestCase):
    """One gateway for each kind of attack; the canary's own server is honest."""

    def test_handshake(self) -> None:
        """A server that gives no session costs its own devices theirs, and nobody else anything."""
        self.face(cases_handshake.CASES)

    def test_connection(self) -> None:
        """Nor does one that breaks the protocol, or goes away, in order or not."""
        self.face(cases_frames.CASES + cases_endings.CASES)

    def test_words(self) -> None:
        """Nor does what it says, nor how much of it."""
        self.face(cases_words.CASES + cases_torrents.CASES)
