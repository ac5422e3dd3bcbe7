"""Bytes that once showed something: a folder per harness, a file of hex digits each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def read_all() -> Iterator[tuple[str, str, bytes]]:
    """Harness, file name and bytes of each case; white space in a file means nothing."""
    for path in sorted(CORPUS.glob("*/*.hex")):
        yield path.parent.name, path.name, bytes.fromhex(path.read_text("ascii"))
