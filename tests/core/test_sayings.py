"""Sentences as data: what they say in English, and that code and texts go together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import xzgw
from xzgw.core.english import TEXTS, span
from xzgw.core.sayings import row, say

SOURCES = sorted(Path(xzgw.__file__).parent.rglob("*.py"))


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of `say`, and where it is."""
    for path in SOURCES:
        source = path.read_text("utf-8")
        if "from xzgw.core.sayings import" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
                yield f"{path.name}:{node.lineno}", node


class SayingTests(SynchronousTestCase):
    """One sentence."""

    def test_one(self) -> None:
        """English for whoever takes it for a text, and the values as they are."""
        saying = say("bad_line", file="{f}", line=7)
        self.assertEqual(saying, "{f}:7: ignored, not of the form NAME=value")
        parts = [{"id": "bad_line", "values": {"file": "{f}", "line": 7}}]
        self.assertEqual(saying.parts, parts)

    def test_row(self) -> None:
        """Several, one after the other."""
        first, second = say("last_session", seconds=7.0), say("no_udp", seconds=4.4)
        saying = row(first, second)
        self.assertEqual(saying, f"{first}{second}")
        self.assertEqual(saying.parts, first.parts + second.parts)

    def test_numbers(self) -> None:
        """Numbers are rounded, and times have a unit."""
        saying = say("no_udp", seconds=89.6)
        self.assertIn("answered 1 min 30 s ago", saying)
        self.assertEqual(saying.parts[0]["values"], {"seconds": 90})

    def test_spans(self) -> None:
        """The two largest units, and no others."""
        for seconds, shown in (
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3599, "59 min 59 s"),
            (7260, "2 h 1 min"),
            (86399, "23 h 59 min"),
            (273599, "3 d 3 h"),
        ):
            self.assertEqual(span(seconds), shown)


class TextsTests(SynchronousTestCase):
    """All sentences."""

    def test_used_rightly(self) -> None:
        """Each use names a text that there is, and gives just the values that are in it."""
        for where, call in calls():
            [name] = call.args
            assert isinstance(name, ast.Constant), f"{where}: the name has to be written out"
            self.assertIn(name.value, TEXTS, where)
            wanted = re.findall(r"\{(\w+)\}", TEXTS[str(name.value)])
            given = [keyword.arg for keyword in call.keywords]
            self.assertEqual(sorted(given, key=str), sorted(wanted), where)

    def test_used(self) -> None:
        """No text is left over."""
        used = {name.value for _, call in calls() for name in call.args if hasattr(name, "value")}
        self.assertEqual(used, set(TEXTS))
