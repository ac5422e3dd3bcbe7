"""docs/robustness.md has a row for each case, and no others."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from tests import hostile
from tests.hostile.harness import Case
from tests.support import ROOT

_ROW = re.compile(r"\| (.+?) \| (.+?) \| (.+?) \|")
_CASE = ": "  # in the names of cases, and of nothing else that there are tables of


def cases() -> list[Case]:
    """All that the modules of cases have at their top, in tuples."""
    names = [each.name for each in pkgutil.iter_modules(hostile.__path__)]
    modules = [import_module(f"tests.hostile.{n}") for n in names if n.startswith("cases_")]
    tuples = [each for m in modules for each in vars(m).values() if isinstance(each, tuple)]
    found = {id(case): case for each in tuples for case in each if isinstance(case, Case)}
    return list(found.values())


def rows() -> list[tuple[str, str, str]]:
    """Case, expected, observed."""
    lines = (ROOT / "docs/robustness.md").read_text("utf-8").splitlines()
    found = [match.groups() for match in map(_ROW.fullmatch, lines) if match]
    return [(case, expected, observed) for case, expected, observed in found if _CASE in case]


class TableTests(SynchronousTestCase):
    """The table and the suite."""

    def test_same(self) -> None:
        """They have the same cases, with the same expectations."""
        told = sorted((case, expected) for case, expected, _ in rows())
        self.assertEqual(told, sorted((case.name, case.expected) for case in cases()))

    def test_names(self) -> None:
        """No two cases have one name."""
        names = [case.name for case in cases()]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreater(len(names), 50)
