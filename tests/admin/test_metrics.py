"""Who may read metrics, and in which form they come."""

from __future__ import annotations

import time
from ipaddress import ip_network
from typing import Any

from treq.testing import StubTreq

from tests import exposition
from tests.admin.fakes import CLIENT_ID, STATUS
from tests.admin.support import TOKEN, AdminTestCase, Answer, new_app
from tests.core.phones import SPEECH, Phone, PhonesTestCase, signed
from xzgw.admin.event_stream import EventStream
from xzgw.admin.metrics import NOT_HERE

WRONG = "wrong token; METRICS_TOKEN is the one for metrics"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SESSIONS = 1000
MOST_TIME = 0.06  # s; some 0.01 was measured


class MetricsTestCase(AdminTestCase):
    """Asking for metrics, from 127.0.0.1."""

    def scrape(self, token: str | None = TOKEN, **headers: str | bytes) -> Answer:
        """Names of headers with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", "/metrics", token=token, headers=named)


class TokenTests(MetricsTestCase):
    """METRICS_TOKEN is set."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics_token = "m-token"

    def test_right(self) -> None:
        """It is let in, from wherever it comes."""
        self.assertEqual(self.scrape("m-token").status, 200)
        self.assertEqual(self.scrape("m-token", X_Forwarded_For="192.0.2.1").status, 200)
        self.assertEqual(self.wrong, [])

    def test_missing(self) -> None:
        """Without it nobody is let in, not even from this machine; nobody is suspected."""
        answer = self.scrape(None)
        self.assertProblem(answer, 401, "a bearer token is needed")
        self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        self.assertEqual(self.scrape(None, Authorization="Basic bS10b2tlbg==").status, 401)
        self.assertEqual(self.wrong, [])

    def test_wrong(self) -> None:
        """A wrong one, the day's of the API included, is refused and noted."""
        for token in ("m-tokem", "m-token2", TOKEN, "", "m-tok\u00ebn"):
            self.assertProblem(self.scrape(token), 401, WRONG)
        self.assertEqual(self.wrong, ["127.0.0.1"] * 5)

    def test_late(self) -> None:
        """Who has guessed too often is told late."""
        self.delay = 1.0
        pending = self.begin("GET", "/metrics", token="guess")
        self.client.flush()
        self.assertNoResult(pending)
        self.clock.advance(1.0)
        self.client.flush()
        self.assertProblem(self.successResultOf(pending), 401, WRONG)

    def test_taken_away(self) -> None:
        """A token that is not configured any more opens nothing."""
        self.metrics_token = None
        self.assertEqual(self.scrape("m-token", X_Forwarded_For="192.0.2.1").status, 403)

    def test_nothing_else(self) -> None:
        """It opens metrics alone."""
        self.assertEqual(self.ask("GET", "/v1/status", token="m-token").status, 401)
        self.assertEqual(self.ask("GET", "/metrics/", token="m-token").status, 401)


class LocalTests(MetricsTestCase):
    """METRICS_TOKEN is not set."""

    def setUp(self) -> None:
        super().setUp()
        self.metrics_token = None

    def test_here(self) -> None:
        """Programs on this machine need none, and a wrong one does them no harm."""
        self.assertEqual(self.scrape(None).status, 200)
        self.assertEqual(self.scrape("guess").status, 200)
        self.assertEqual(self.wrong, [])

    def test_unknown_proxy(self) -> None:
        """What has come by a proxy that nobody has named may be from anywhere."""
        for name in ("X_Forwarded_For", "Forwarded", "Via", "X_Real_IP", "x_forwarded_proto"):
            self.assertProblem(self.scrape(TOKEN, **{name: "127.0.0.1"}), 403, NOT_HERE)

    def test_names(self) -> None:
        """By a name that a stranger may have made lead here, nothing is told."""
        for name in ("localhost:8007", "gateway", "127.0.0.1:80", "[::1]:8007", "[::1]", ""):
            self.assertEqual(self.scrape(None, Host=name).status, 200, name)
        for name in ("evil.example:8007", "127.0.0.1.evil.example", "a:b", "[::1].evil.example"):
            self.assertProblem(self.scrape(None, Host=name), 403, NOT_HERE)

    def test_trusted_proxy(self) -> None:
        """A trusted proxy on this machine tells whether the caller is here, too."""
        self.proxies.append(ip_network("127.0.0.0/8"))
        here = {"X_Real_IP": "127.0.0.1", "X_Forwarded_Proto": "https"}
        self.assertEqual(self.scrape(None, X_Forwarded_For="127.0.0.1", **here).status, 200)
        self.assertEqual(self.scrape(None, X_Forwarded_For="::1").status, 200)
        far = ("192.0.2.1", "127.0.0.1, 192.0.2.1", "192.0.2.1, 127.0.0.1", "unknown", "", b"\xff")
        for value in far:
            self.assertEqual(self.scrape(None, X_Forwarded_For=value).status, 403, value)
        self.assertEqual(self.scrape(None, **here).status, 403)


class AnswerTests(MetricsTestCase):
    """What is answered."""

    def test_plain(self) -> None:
        """The format that everything reads, unless another is asked for."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        for accept in ("*/*", "text/html, application/json;q=0.9", "application/openmetrics"):
            answer = self.scrape(Accept=accept)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
        self.assertEqual(answer.headers["cache-control"], "no-store")
        exposition.read(answer.body.decode())

    def test_openmetrics(self) -> None:
        """The newer format for Prometheus, with the same in it, whatever else it says."""
        self.scrape()
        plain = exposition.read(self.scrape().body.decode()).labels
        for accept in (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.3",
            "text/plain;q=0.5, Application/OpenMetrics-Text ; version=x\xe9",
            "application/openmetrics-text;version=99.9",
        ):
            answer = self.scrape(Accept=accept.encode("latin-1"))
            self.assertEqual(answer.headers["content-type"], OPENMETRICS)
            self.assertEqual(exposition.read_openmetrics(answer.body.decode()).labels, plain)

    def test_head(self) -> None:
        """The same without a body, to the same callers."""
        answer = self.ask("HEAD", "/metrics")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self.ask("HEAD", "/metrics", token="guess").status, 401)

    def test_other_methods(self) -> None:
        """There is nothing else to do here."""
        answer = self.ask("POST", "/metrics", {})
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_process(self) -> None:
        """The gateway's versions, and what the process takes."""
        scrape = exposition.read(self.scrape().body.decode())
        (version,) = scrape.by("version", "xzgw_build_info")
        self.assertEqual(version, STATUS.version)
        for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds"):
            self.assertGreater(scrape.value(f"process_{name}"), 0)
        self.assertEqual(set(scrape.by("generation", "python_gc_collections_total")), {*"012"})

    def test_fault(self) -> None:
        """A fault behind the door is a 500, not a page that looks complete."""
        self.door.sums.started = "many"  # type: ignore[assignment]
        # openapi.json promises no 500, so this one goes past the client's check.
        headers = {"Authorization": f"Bearer {TOKEN}"}
        pending = self.client.get("http://gateway/metrics", headers=headers)
        self.client.flush()
        self.assertEqual(self.successResultOf(pending).code, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class RequestTests(MetricsTestCase):
    """What is counted of the API."""

    def counts(self) -> dict[tuple[str, str, str], float]:
        """Answered requests by method, route and status."""
        scrape = exposition.read(self.scrape().body.decode())
        return {
            tuple(dict(labels)[each] for each in ("method", "route", "status")): value  # type: ignore[misc]
            for (name, labels), value in scrape.samples.items()
            if name == "xzgw_api_requests_total"
        }

    def test_routes(self) -> None:
        """By route, not by path; a scrape counts when it is over."""
        self.assertEqual(self.counts(), {})
        device = f"/v1/devices/{CLIENT_ID}"
        self.ask("DELETE", f"{device}/session")
        self.ask("GET", "/v1/devices/nobody")
        self.ask("GET", "/v1/devices/any%2Fbody")
        self.ask("GET", "/v1/devices?state=in_call")
        self.ask("POST", f"{device}/tools/self.fly", {})
        self.ask("GET", "/healthz", token=None)
        self.ask("GET", "/v1/status", token=None)
        self.ask("PUT", "/v1/status")
        self.ask("HEAD", "/readyz")
        expected = {
            ("GET", "/metrics", "200"): 1,
            ("DELETE", "/v1/devices/{client_id}/session", "409"): 1,
            ("GET", "/v1/devices/{client_id}", "404"): 2,
            ("GET", "/v1/devices", "200"): 1,
            ("POST", "/v1/devices/{client_id}/tools/{name}", "200"): 1,
            ("GET", "/healthz", "200"): 1,
            ("GET", "/v1/status", "401"): 1,
            ("other", "/v1/status", "405"): 1,
            ("HEAD", "/readyz", "200"): 1,
        }
        self.assertEqual(self.counts(), expected)

    def test_bounded(self) -> None:
        """Whatever strangers ask for, it is not counted apart."""
        for number in range(200):
            self.ask(f"M{number}", f"/p{number}", token=None)
            self.ask("GET", f"/v1/devices/{number}/x")
        self.ask("GET", "/%ff")
        self.assertEqual(
            self.counts(),
            {
                ("other", "other", "401"): 200,
                ("GET", "other", "404"): 201,
            },
        )

    def test_gone(self) -> None:
        """A caller that does not wait for its answer is counted as that."""
        self.delay = 1.0
        pending = self.begin("GET", "/v1/status", token="guess")
        pending.addErrback(lambda _: None)
        pending.cancel()
        self.client.flush()
        self.assertEqual(self.counts(), {("GET", "/v1/status", "gone"): 1})


class CostTests(PhonesTestCase):
    """A gateway with many sessions."""

    def test_scrape(self) -> None:
        """A scrape holds up everything else no longer than one frame of audio lasts."""
        for number in range(SESSIONS):
            client_id = f"g@@@02_00_00_00_{number >> 8:02x}_{number & 255:02x}@@@u-{number}"
            phone = Phone(self.board, signed(client_id))
            phone.hello(f"s-{number}")
            phone.speaks(SPEECH[0])
        stream = EventStream(self.board.around.events, self.board.clock)
        client: Any = StubTreq(new_app(self.board.door, stream, self.board.clock))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        times = []
        for _ in range(5):
            before = time.process_time()
            response = self.successResultOf(client.get("http://gateway/metrics", headers=headers))
            times.append(time.process_time() - before)
            text = self.successResultOf(client.content(response)).decode()
        self.assertEqual(exposition.read(text).value("xzgw_sessions"), SESSIONS)
        self.assertLess(min(times), MOST_TIME)
