"""File descriptors: as many as this process may have."""

from __future__ import annotations

import re
import resource
from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, warnings
from tests.support import ROOT
from xzgw.descriptors import SPARE, raise_descriptors
from xzgw.settings.limits import LimitsConfig

HARD = 4096
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
        """What is warned of."""
        with capturedLogs() as log:
            raise_descriptors(replace(CONFIG, limits=limits))
        return warnings(log)

    def test_raised(self) -> None:
        """To the hard limit, which stays; enough is no matter for the log."""
        self.assertEqual(self.raised(SMALL), [])
        self.assertEqual((self.soft, self.hard), (HARD, HARD))
        self.assertEqual(self.raised(SMALL), [])

    def test_just_enough(self) -> None:
        """Exactly enough is enough, one less is not."""
        self.soft = self.hard = 1000 + 100 + 10 + 5 + SPARE
        self.assertEqual(self.raised(SMALL), [])
        self.soft = self.hard = self.hard - 1
        (warning,) = self.raised(SMALL)
        self.assertIn(f"{self.hard} file descriptors are allowed", warning)
        self.assertIn(f"come to {self.hard + 1}", warning)

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
