"""By what requests are counted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.admin import spec
from xzgw.admin.api_counts import METHODS, OTHER, ApiCounts
from xzgw.admin.dashboard import Dashboard
from xzgw.admin.health import Health
from xzgw.admin.legacy import Legacy
from xzgw.admin.metrics import Metrics
from xzgw.admin.v1 import V1

PAGES = Dashboard()


class RouteTests(SynchronousTestCase):
    """From paths to routes. Counting itself: tests.admin.test_metrics."""

    def setUp(self) -> None:
        self.counts = ApiCounts((Health.app, Metrics.app, Legacy.app, V1.app), PAGES.has)

    def test_documented(self) -> None:
        """Every path of the API's description is a route, its names filled in with anything."""
        for template, method in spec.OPERATIONS:
            path = template.replace("{client_id}", "a%2Fb").replace("{name}", "x")
            self.assertEqual(self.counts.route(path.encode()), template)
            self.assertIn(method.upper(), METHODS)

    def test_others(self) -> None:
        """What is no route is no label."""
        for path in ("", "//", "*", "/v1", "/v1/devices/", "/v1/devices//", "/v1/devices/a/b"):
            self.assertEqual(self.counts.route(path.encode()), OTHER, path)
        for path in ("/healthz/", "/metricsx", "/v1/devices/{client_id}/", "/api/commands/a/b"):
            self.assertEqual(self.counts.route(path.encode()), OTHER, path)
        self.assertEqual(self.counts.route(b"/\xff"), OTHER)

    def test_dashboard(self) -> None:
        """Its page and files are one."""
        self.assertEqual(self.counts.route(b"/"), "dashboard")
