"""The list of settings, compared with what operators are told."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import xzgw
from xzgw.settings import limits
from xzgw.settings import table as settings
from xzgw.settings.sources import Setting

DOCUMENT = Path(xzgw.__file__).parent.parent / "docs" / "configuration.md"


class SettingsTests(SynchronousTestCase):
    """The list is complete and clear."""

    def test_all(self) -> None:
        """Every setting defined is in the list: what is not would be warned of as unknown."""
        of_limits = [value for value in vars(limits).values() if isinstance(value, Setting)]
        self.assertEqual(list(limits.ALL), of_limits)
        defined = [value for value in vars(settings).values() if isinstance(value, Setting)]
        self.assertEqual([each for each in settings.ALL if each not in limits.ALL], defined)
        self.assertEqual([each for each in settings.ALL if each in limits.ALL], of_limits)

    def test_names(self) -> None:
        """No name is used twice."""
        for names in (
            [setting.key for setting in settings.ALL if setting.key],
            [setting.flag for setting in settings.ALL if setting.flag],
            [variable for setting in settings.ALL for variable in setting.variables],
        ):
            self.assertEqual(len(names), len(set(names)))

    def test_secrets(self) -> None:
        """Secrets have one variable and no other name."""
        for setting in (settings.SIGNATURE_KEY, settings.SERVER_SECRET):
            self.assertEqual((setting.key, setting.flag, len(setting.variables)), ("", "", 1))

    def test_twins(self) -> None:
        """Each flag has a variable."""
        for setting in settings.ALL:
            self.assertTrue(setting.variables or not setting.flag, setting)

    def test_documented(self) -> None:
        """Each name is in the operators' document, as code."""
        text = DOCUMENT.read_text("utf-8")
        for setting in settings.ALL:
            names = [*setting.variables, f"--{setting.flag}", setting.key]
            for name in names:
                if name not in ("--", ""):
                    self.assertRegex(text, rf"`{name}[` ]")

    def test_changes_documented(self) -> None:
        """What a change of each takes effect for is told, but for that of the file's name."""
        _, _, rest = DOCUMENT.read_text("utf-8").partition("## Changes while it runs")
        section = rest.partition("\n## ")[0]
        for setting in settings.ALL:
            if setting is not settings.CONFIG:
                name = setting.key or setting.variables[0]
                self.assertRegex(section, rf"`{name}`")
