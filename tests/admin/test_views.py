"""Times as JSON has them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.admin.fakes import device
from xzgw.admin import views


class ViewTests(SynchronousTestCase):
    """What the wider tests do not reach."""

    def test_rfc3339(self) -> None:
        """Milliseconds, always three of them, and Z."""
        self.assertEqual(views.rfc3339(0), "1970-01-01T00:00:00.000Z")
        self.assertEqual(views.rfc3339(1_769_860_800.1239), "2026-01-31T12:00:00.123Z")

    def test_unknown_times(self) -> None:
        """A time that is not known stays null, one that is missing stays away."""
        view = device().view
        view.mqtt["last_seen"] = None
        del view.mqtt["connected_since"]
        shown = views.device(view)["mqtt"]
        self.assertIsNone(shown["last_seen"])
        self.assertNotIn("connected_since", shown)
