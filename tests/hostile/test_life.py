"""Starts, stops and changes of the gateway and of its chat servers, under attack."""

from __future__ import annotations

from tests.hostile import cases_life
from tests.hostile.foul_server import ServerTestCase
from tests.hostile.harness import Case


class LifeTests(ServerTestCase):
    """The canary talks until the gateway is told to stop."""

    def test_faced(self) -> None:
        """It notices nothing of what happens around it."""
        self.face(cases_life.FACED)

    def end(self, case: Case) -> None:
        """Run a case that ends the process; its log has no fault, either."""
        target = self.start()
        case.attack(target)
        self.assertFalse(target.gateway.is_alive())
        self.look_at_log(target)

    def test_ends(self) -> None:
        """However busy it is, it stops in time and in order, and starts again."""
        for case in cases_life.ENDS:
            self.end(case)
