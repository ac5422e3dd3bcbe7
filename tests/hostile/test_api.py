"""Attacks on the admin API."""

from __future__ import annotations

from tests.hostile import cases_api, cases_callers
from tests.hostile.harness import HostileTestCase


class ApiTests(HostileTestCase):
    """One gateway for each kind of attack."""

    def test_requests(self) -> None:
        """Each gets the answer that is due to it, and none does any harm."""
        self.face(cases_api.CASES)

    def test_callers(self) -> None:
        """Nor do connections that take their time, or do not listen."""
        self.face(cases_callers.CASES)
