"""The settings of limits."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xzgw.settings import limits
from xzgw.settings.limits import LimitsConfig, read_limits
from xzgw.settings.sources import Sources


def read(*flags: str, **variables: str) -> tuple[LimitsConfig, list[str]]:
    """What comes of flags `name=value` and variables, and what is wrong with them."""
    given = dict(flag.split("=") for flag in flags)
    sources = Sources(limits.ALL, given, variables, Path("/nonexistent"))
    return read_limits(sources), sources.problems


class LimitsTests(SynchronousTestCase):
    """From the sources."""

    def test_defaults(self) -> None:
        """As documented."""
        expected = LimitsConfig(50_000, 0, 1_000, 5_000, 10_000, 200, 300, 50)
        self.assertEqual(read(), (expected, []))
        self.assertEqual(LimitsConfig(), expected)

    def test_each(self) -> None:
        """Each has its flag and its variable, and gets where it belongs."""
        for number, setting in enumerate(limits.ALL, 2):
            (variable,) = setting.variables
            for config, problems in (
                read(f"{setting.flag}={number}"),
                read(**{variable: str(number)}),
            ):
                self.assertEqual((getattr(config, setting.key), problems), (number, []))
                changed = [s for s in limits.ALL if getattr(config, s.key) != s.default]
                self.assertEqual(changed, [setting])

    def test_none(self) -> None:
        """Only two of them can be 0: others would keep everybody out, or in."""
        can = {"max_connections_per_address", "drain_seconds"}
        for setting in limits.ALL:
            _, problems = read(f"{setting.flag}=0")
            self.assertEqual(not problems, setting.key in can, setting.key)
