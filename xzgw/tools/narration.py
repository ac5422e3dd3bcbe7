"""Telling people, line by line, what goes over the wire."""

from __future__ import annotations

from collections.abc import Callable

from xzgw.wire.messages import Json

# Takes one line about what happens.
Say = Callable[[str], None]

_WIDTH = 60  # characters of a text that are shown


def silent(_line: str) -> None:
    """The `Say` of those who have nothing to tell."""


def describe(message: Json) -> str:
    """A message in a few words: its type, then state and text where it has them."""
    words = [message.get(name) for name in ("type", "state", "text", "message")]
    return " ".join(shorten(str(word)) for word in words if word is not None)


def shorten(text: str) -> str:
    """The text, cut where it would not fit a line."""
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
