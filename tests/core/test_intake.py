"""What one device sends, counted."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, Surroundings, warnings
from xzgw.core.intake import Intake


class IntakeTests(SynchronousTestCase):
    """A device that may send three messages at once, and one a second."""

    def setUp(self) -> None:
        services = Surroundings(replace(CONFIG, message_rate=1, message_burst=3)).services
        self.closed: list[str] = []
        self.intake = Intake("ann", services, self.closed.append)

    def take(self, at: float, *costs: int) -> list[bool]:
        """Messages of these costs, all at once."""
        return [self.intake.take(cost, at) for cost in costs]

    def test_limit(self) -> None:
        """What is over it is counted, and told once; what comes later is taken again."""
        with capturedLogs() as logs:
            self.assertEqual(self.take(60.0, 1, 1, 1, 1, 1), [True] * 3 + [False] * 2)
        line = "ann: more than 1 messages/s (message_rate): dropping the excess"
        self.assertEqual(warnings(logs), [line])
        self.assertEqual(self.take(61.0, 1), [True])
        self.assertEqual((self.intake.messages, self.intake.limit.refused), (6, 2))
        self.assertEqual(self.closed, [])

    def test_cost(self) -> None:
        """One message may be as much work as several."""
        self.assertEqual(self.take(0.0, 3, 1), [True, False])

    def test_abuse(self) -> None:
        """Who keeps on is disconnected."""
        self.take(0.0, *[1] * 7)
        self.assertEqual(self.closed, ["keeps sending more than 1 messages/s"])

    def test_refused(self) -> None:
        """What is no message is counted, and told once."""
        with capturedLogs() as logs:
            self.intake.refuse("not JSON")
            self.intake.refuse("not UTF-8")
        self.assertEqual(self.intake.refused, 2)
        line = "ann: dropping a message that is not JSON (further ones are only counted)"
        self.assertEqual(warnings(logs), [line])
