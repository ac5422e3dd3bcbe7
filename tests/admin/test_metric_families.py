"""Metrics of what the door tells."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import count

from prometheus_client import generate_latest
from twisted.trial.unittest import SynchronousTestCase

from tests import exposition
from tests.admin.fakes import ALIKE, SERVER, STATUS
from tests.core.phones import PhonesTestCase
from tests.exposition import Scrape
from xzgw.admin import metric_families as families
from xzgw.admin.api_counts import Kind
from xzgw.core.audio_stats import Stats
from xzgw.core.door import BackendState, BackendView
from xzgw.core.findings import Cause
from xzgw.core.totals import Histogram, Totals


def server(url: str, sessions: int, failures: int, state: BackendState) -> BackendView:
    """One chat server."""
    return BackendView(url, ("production",), 1, sessions, failures, state, "", None)


class FamiliesTestCase(SynchronousTestCase):
    """Reading them as Prometheus does."""

    def read(self, metrics: object) -> Scrape:
        class Collector:
            def collect(self) -> object:
                return metrics

        return exposition.read(generate_latest(Collector()).decode())  # type: ignore[arg-type]


class StatusTests(FamiliesTestCase):
    """The gateway as a whole."""

    def test_values(self) -> None:
        """Everything that the status has."""
        scrape = self.read(families.of_status(STATUS))
        kinds = {"device": 3, "unauthenticated": 2, "api": 4}
        self.assertEqual(scrape.by("kind", "xzgw_connections"), kinds)
        self.assertEqual(scrape.value("xzgw_sessions"), 1)
        self.assertEqual((scrape.value("xzgw_ready"), scrape.value("xzgw_draining")), (0, 0))
        limits = {"max_connections": 50, "max_connects_per_second": 9}
        self.assertEqual(scrape.by("setting", "xzgw_limit"), limits)
        self.assertEqual(scrape.by("setting", "xzgw_limit_used"), {"max_connections": 3})
        refused = {"max_connections": 7, "draining": 0, "wrong_token": 5}
        self.assertEqual(scrape.by("reason", "xzgw_refused_total"), refused)
        self.assertEqual(scrape.value("xzgw_events_total"), 8)
        self.assertEqual(scrape.by("what", "xzgw_held"), {"timers": 6})

    def test_ready(self) -> None:
        """Ready without troubles; draining by itself."""
        scrape = self.read(families.of_status(replace(STATUS, troubles=(), draining=True)))
        self.assertEqual((scrape.value("xzgw_ready"), scrape.value("xzgw_draining")), (1, 1))


class NothingForgottenTests(PhonesTestCase):
    """The gateway's own status."""

    def test_counts(self) -> None:
        """Whatever is counted has a metric."""
        status = self.successResultOf(self.board.door.status())
        known = {families.EVENTS, *families.REFUSED, *families.UNSENT}
        others = {name for name in status.counts if not name.startswith(families.TURNED_AWAY)}
        self.assertEqual(others - known, set())
        self.assertEqual(self.successResultOf(self.board.door.totals()), Totals())


class ServerTests(FamiliesTestCase):
    """Chat servers."""

    def test_states(self) -> None:
        """Each by its URL."""
        views = [
            server(SERVER, 2, 0, BackendState.UP),
            server("ws://b/", 1, 3, BackendState.FAILING),
            server('ws://c/"\n\\', 0, 0, BackendState.DRAINING),
        ]
        scrape = self.read(families.of_servers(views))
        odd = 'ws://c/"\n\\'
        for name, values in (
            ("up", (1, 0, 1)),
            ("draining", (0, 0, 1)),
            ("sessions", (2, 1, 0)),
            ("failures_in_a_row", (0, 3, 0)),
        ):
            expected = dict(zip((SERVER, "ws://b/", odd), values, strict=True))
            self.assertEqual(scrape.by("server", f"xzgw_backend_{name}"), expected, name)

    def test_alike(self) -> None:
        """Those that look alike without their secrets are one: as well as the worst of them."""
        views = [
            server(ALIKE, 2, 0, BackendState.UP),
            server(ALIKE, 1, 3, BackendState.DRAINING),
            server(ALIKE, 4, 1, BackendState.FAILING),
        ]
        for each in (views, views[::-1]):
            scrape = self.read(families.of_servers(each))
            names = ("up", "draining", "sessions", "failures_in_a_row")
            values = [scrape.value(f"xzgw_backend_{name}", server=ALIKE) for name in names]
            self.assertEqual(values, [0, 1, 7, 3])


class SessionTests(FamiliesTestCase):
    """Sessions and their audio."""

    def setUp(self) -> None:
        numbers = count(1)
        self.stats = Stats(**{field.name: next(numbers) for field in fields(Stats)})
        self.totals = Totals(started=9, open=2, audio=self.stats, gaps_up=4, gaps_down=5)
        self.totals.unsent, self.totals.audio_refused = 6, 7
        self.totals.audio_unwanted, self.totals.texts_refused = 8, 10

    def test_sessions(self) -> None:
        """Begun and ended ones."""
        self.totals.ended["goodbye"] = 5
        self.totals.failed, self.totals.diagnosed[Cause.NO_UDP] = 3, 4
        scrape = self.read(families.of_sessions(self.totals))
        self.assertEqual(scrape.value("xzgw_sessions_started_total"), 9)
        self.assertEqual(scrape.value("xzgw_sessions_failed_total"), 3)
        self.assertEqual(scrape.by("cause", "xzgw_sessions_ended_total"), self.totals.ended)
        diagnoses = scrape.by("cause", "xzgw_diagnoses_total")
        self.assertEqual((set(diagnoses), diagnoses["no_udp"]), (set(Cause), 4))

    def test_histograms(self) -> None:
        """Buckets add up; a value at a bound is in its bucket."""
        for seconds in (0.05, 0.3, 99.0):
            self.totals.setup.observe(seconds)
        self.totals.jitter_up.observe(0.004)
        scrape = self.read(families.of_sessions(self.totals))
        name = "xzgw_session_setup_seconds"
        buckets = scrape.by("le", f"{name}_bucket")
        self.assertEqual((buckets["0.05"], buckets["0.5"], buckets["+Inf"]), (1, 2, 3))
        self.assertEqual(scrape.value(f"{name}_count"), 3)
        self.assertAlmostEqual(scrape.value(f"{name}_sum"), 99.35)
        jitter = "xzgw_session_jitter_seconds"
        self.assertEqual(scrape.by("direction", f"{jitter}_count"), {"up": 1, "down": 0})
        self.assertEqual(scrape.value(f"{jitter}_bucket", direction="up", le="0.005"), 1)

    def test_audio(self) -> None:
        """Each count in its place, beside what the UDP port counts."""
        counts = {"datagrams_unknown": 21, "datagrams_too_short": 22, "datagrams_unsent": 23}
        scrape, stats = self.read(families.of_audio(self.totals, counts)), self.stats
        packets = {"up": stats.forwarded, "down": stats.sent_packets}
        self.assertEqual(scrape.by("direction", "xzgw_audio_packets_total"), packets)
        size = {"up": stats.forwarded_bytes, "down": stats.sent_bytes}
        self.assertEqual(scrape.by("direction", "xzgw_audio_bytes_total"), size)
        missing = scrape.value("xzgw_audio_missing_packets_total")
        self.assertEqual(missing, stats.lost + stats.late)
        self.assertEqual(scrape.value("xzgw_audio_late_packets_total"), stats.late)
        self.assertEqual(scrape.value("xzgw_audio_duplicate_packets_total"), stats.duplicate)
        refused = {**stats.refused_by(), "no_session": 21, "no_header": 22, "fault": 0}
        self.assertEqual(scrape.by("reason", "xzgw_audio_refused_packets_total"), refused)
        dropped = {**stats.dropped_by(), "not_taken_by_kernel": 23}
        self.assertEqual(scrape.by("reason", "xzgw_audio_dropped_packets_total"), dropped)
        self.assertEqual(scrape.by("direction", "xzgw_audio_gaps_total"), {"up": 4, "down": 5})
        self.assertEqual(scrape.value("xzgw_backend_unsent_packets_total"), 6)
        reasons = {"audio_malformed": 7, "audio_unwanted": 8, "text_malformed": 10}
        messages = scrape.by("reason", "xzgw_backend_refused_messages_total")
        self.assertEqual(messages, reasons)

    def test_only_rises(self) -> None:
        """A lost packet that comes after all makes no counter fall."""
        name = "xzgw_audio_missing_packets_total"
        before = self.read(families.of_audio(self.totals, {})).value(name)
        self.stats.lost -= 1
        self.stats.late += 1
        self.assertEqual(self.read(families.of_audio(self.totals, {})).value(name), before)


class ProcessTests(FamiliesTestCase):
    """What this process counts of itself."""

    def test_values(self) -> None:
        """Requests by method, route and status; lag as it is."""
        lag = Histogram((0.1,))
        lag.observe(0.05)
        requests = {Kind("GET", "/v1/devices/{client_id}", "404"): 3}
        scrape = self.read(families.of_process(requests, lag))
        labels = {"method": "GET", "route": "/v1/devices/{client_id}", "status": "404"}
        self.assertEqual(scrape.value("xzgw_api_requests_total", **labels), 3)
        self.assertEqual(scrape.by("le", "xzgw_event_loop_lag_seconds_bucket")["0.1"], 1)
