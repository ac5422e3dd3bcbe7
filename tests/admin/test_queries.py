"""Query parameters, right and wrong."""

from __future__ import annotations

from tests.admin.support import AdminTestCase
from xzgw.core.door import Filter, Presence


class QueryTests(AdminTestCase):
    """By way of the list of devices."""

    def test_wrong(self) -> None:
        """Whatever is not understood is refused, never ignored."""
        known = "group, state, mac_prefix, limit, after"
        limit = "limit must be a whole number from 1 to 1000"
        mac = "mac_prefix must be the beginning of a MAC like a0:85:e3"
        state = "state must be one of idle, dialing, live, in_call"
        for query, reason in (
            ("sate=idle", f"query parameters here are {known} only"),
            ("%ff=1", "a query parameter is repeated or not UTF-8"),
            ("group=%ff", "a query parameter is repeated or not UTF-8"),
            ("limit=1&limit=2", "a query parameter is repeated or not UTF-8"),
            ("group=", "group must not be empty"),
            ("after=", "after must not be empty"),
            ("limit=", limit),
            ("limit=0", limit),
            ("limit=1001", limit),
            ("limit=-1", limit),
            ("limit=1.0", limit),
            ("limit=%D9%A1", limit),  # an Arabic digit
            ("limit=" + "9" * 5000, limit),
            ("mac_prefix=", mac),
            ("mac_prefix=g0", mac),
            ("mac_prefix=" + "0" * 18, mac),
            ("state=", state),
            ("state=gone", state),
            ("state=LIVE", state),
        ):
            self.assertProblem(self.ask("GET", "/v1/devices?" + query), 400, reason)
        self.assertEqual(self.door.looked_for, [])

    def test_states(self) -> None:
        """Every state of a connected device can be asked for."""
        for state in ("idle", "dialing", "live", "in_call"):
            self.assertEqual(self.ask("GET", f"/v1/devices?state={state}").status, 200)
        asked = [which for which, _, _ in self.door.looked_for]
        self.assertEqual(asked, [Filter(presence=p) for p in Presence if p != Presence.GONE])
