"""docs/security.md: what it refers to is there."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.support import ROOT

TEXT = (ROOT / "docs/security.md").read_text("utf-8")


class ReferenceTests(SynchronousTestCase):
    """So that a mechanism that moves takes its row along."""

    def test_files(self) -> None:
        """Each file and folder; those of the package stand without its name."""
        named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", TEXT))
        self.assertGreater(len(named), 30)
        there = (ROOT, ROOT / "xzgw")
        missing = [name for name in named if not any((each / name).exists() for each in there)]
        self.assertEqual(missing, [])

    def test_tests(self) -> None:
        """Each case of tests, and each test."""
        source = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests/core").glob("*.py"))
        named = re.findall(r"`([A-Z]\w+Tests)(?:\.(test_\w+))?`", TEXT)
        self.assertGreater(len(named), 4)
        for case, test in named:
            self.assertRegex(source, rf"(?s)class {case}\(.*def {test or 'test_'}")

    def test_links(self) -> None:
        """Each page that is linked to, and each heading in it."""
        links = re.findall(r"\]\(([a-z-]*\.?[a-z]*)(?:#([a-z-]+))?\)", TEXT)
        self.assertGreater(len(links), 8)
        for page, heading in links:
            text = (ROOT / "docs" / page).read_text("utf-8") if page else TEXT
            heads = re.findall(r"(?m)^#+ (.*)$", text)
            anchors = {re.sub(r"[^a-z -]", "", head.lower()).replace(" ", "-") for head in heads}
            self.assertTrue(not heading or heading in anchors, f"{page}#{heading}")
