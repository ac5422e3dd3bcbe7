"""File descriptors: as many as this process may have."""

from __future__ import annotations

import re
import resource
from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, warnings
from tests.support import ROOT
from xzgw.core.sayings import say
from xzgw.descriptors import SPARE, fitted
from xzgw.settings.limits import LimitsConfig

HARD = 4096
ODD = say("placeholder", where="xzgw.json")
SMALL = LimitsConfig(
    max_connections=1000, max_unauthenticated=100, max_sessions=10, max_api_connections=5
)


class RaiseTests(SynchronousTestCase):
    """On systems of several kinds."""

    def setUp(self) -> None:
        self.soft = 1024
        self.hard = HARD
        self.patch(resource, "getrlimit", lambda which: (self.soft, self.hard))
        self.patch(resource, "setrlimit", self._set)
        self.refused: Exception | None = None

    def _set(self, which: int, limits: tuple[int, int]) -> None:
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        if self.refused is not None:
            raise self.refused
        self.soft, self.hard = limits

    def raised(self, limits: LimitsConfig) -> list[str]:
        """What is warned of, in the log and with the configuration."""
        with capturedLogs() as log:
            config, told = fitted(replace(CONFIG, limits=limits), (ODD,))
        self.limits = config.limits
        self.assertEqual(told[0], ODD)
        return [*warnings(log), *told[1:]]

    def total(self) -> int:
        """What the limits in use come to."""
        limits = self.limits
        devices = limits.max_connections + limits.max_unauthenticated
        return devices + limits.max_sessions + limits.max_api_connections

    def test_raised(self) -> None:
        """To the hard limit, which stays; enough is no matter for the log."""
        self.assertEqual(self.raised(SMALL), [])
        self.assertEqual((self.soft, self.hard, self.limits), (HARD, HARD, SMALL))
        self.assertEqual(self.raised(SMALL), [])

    def test_just_enough(self) -> None:
        """Exactly enough is enough, one less is not."""
        self.soft = self.hard = 1000 + 100 + 10 + 5 + SPARE
        self.assertEqual(self.raised(SMALL), [])
        self.soft = self.hard = self.hard - 1
        (warning,) = self.raised(SMALL)
        self.assertIn(f"{self.hard} file descriptors are allowed", warning)
        self.assertIn(f"come to {self.hard + 1}", warning)
        self.assertIn("max_connections 999, max_unauthenticated 99, max_sessions 10,", warning)
        self.assertLessEqual(self.total(), self.hard - SPARE)

    def test_lowered(self) -> None:
        """In proportion, whatever is allowed; half of very little is kept for other things."""
        for self.hard, at_least, expected in (
            (1024, 500, (363, 36, 72, 52)),
            (20_000, 19_400, (14846, 1484, 2969, 200)),
            (60, 25, (20, 2, 4, 3)),
            (4, 0, (1, 1, 1, 1)),
        ):
            self.soft = self.hard
            (warning,) = self.raised(LimitsConfig(max_connections_per_address=7))
            devices, strangers, sessions, calls = expected
            self.assertIn(
                f"max_connections {devices}, max_unauthenticated {strangers},"
                f" max_sessions {sessions}, max_api_connections {calls}:",
                warning,
            )
            self.assertGreaterEqual(self.total(), at_least)
            self.assertEqual(self.limits.max_connections_per_address, 7)

    def test_small_ones_stay(self) -> None:
        """A limit of one is not lowered, and none is raised."""
        self.soft = self.hard = 1000
        one = replace(SMALL, max_connections=100_000, max_unauthenticated=1, max_sessions=1)
        self.raised(one)
        self.assertEqual((self.limits.max_unauthenticated, self.limits.max_sessions), (1, 1))
        self.assertEqual(self.limits.max_api_connections, 5)

    def test_modest_ones_stay(self) -> None:
        """A limit that is less than its part stays, and leaves the more to the others."""
        self.soft = self.hard = 4096
        for modest, expected in (
            (LimitsConfig(max_sessions=50), (3041, 304, 50)),
            (LimitsConfig(max_connections=2000), (2000, 465, 930)),
            (LimitsConfig(max_connections=2000, max_sessions=50), (2000, 1346, 50)),
            (LimitsConfig(max_connections=500_000), (2612, 261, 522)),
        ):
            self.raised(modest)
            limits = self.limits
            found = (limits.max_connections, limits.max_unauthenticated, limits.max_sessions)
            self.assertEqual(found, expected)
            self.assertLessEqual(self.total(), self.hard - SPARE)

    def test_unit(self) -> None:
        """What the systemd unit allows is enough for the limits as they are by default."""
        unit = (ROOT / "etc/xzgw.service").read_text("utf-8")
        (allowed,) = re.findall("^LimitNOFILE=([0-9]+)$", unit, re.MULTILINE)
        self.soft = self.hard = int(allowed)
        self.assertEqual(self.raised(LimitsConfig()), [])

    def test_unlimited(self) -> None:
        """Without any limit nothing is to be said."""
        self.soft = self.hard = resource.RLIM_INFINITY
        self.assertEqual(self.raised(LimitsConfig()), [])

    def test_cannot(self) -> None:
        """What the system refuses is said, and the old limit is what counts."""
        for self.refused in (OSError(1, "Operation not permitted"), ValueError("not allowed")):
            cannot, few = self.raised(SMALL)
            self.assertIn("cannot raise the number of file descriptors", cannot)
            self.assertIn("1024 file descriptors are allowed", few)
