"""Why new devices should not be sent here: for load balancers, and as events."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, URL, Surroundings
from xzgw.core.gateway import Gateway

OTHER_URL = "ws://b.example:8000/xiaozhi/v1/?from=mqtt_gateway"
DEVELOPMENT_URL = "ws://dev.example:8000/xiaozhi/v1/?from=mqtt_gateway"
MAC = "a0:85:e3:f4:49:34"


class TroublesTests(SynchronousTestCase):
    """A gateway with two servers, and one for development."""

    def setUp(self) -> None:
        self.around = Surroundings(
            replace(
                CONFIG,
                production_servers=(URL, OTHER_URL),
                development_servers=(DEVELOPMENT_URL,),
                development_macs=frozenset({MAC}),
            )
        )
        self.gateway = Gateway(self.around.services)
        self.backends = self.around.services.backends

    def fail_server(self, url: str, reason: str = "refused") -> None:
        """This server has just failed."""
        mac = MAC if url == DEVELOPMENT_URL else ""
        server = self.backends.choose(mac, {URL, OTHER_URL} - {url})
        assert server is not None and server.url == url
        self.backends.failed(server, reason)

    def recover(self, url: str) -> None:
        """This server answers a hello."""
        server = self.backends.choose("", {URL, OTHER_URL} - {url})
        assert server is not None and server.url == url
        self.backends.succeeded(server)

    def told(self) -> list[tuple[str, dict[str, object]]]:
        """The events so far."""
        return [(event.kind, event.data) for event in self.around.events.since(0)]

    def test_none(self) -> None:
        """All is well from the start, before any server was tried."""
        self.assertEqual(self.gateway.troubles(), [])
        self.assertEqual(self.told(), [])

    def test_one_server_is_well(self) -> None:
        """That is enough."""
        self.fail_server(URL)
        self.assertEqual(self.gateway.troubles(), [])

    def test_all_servers_failed(self) -> None:
        """Each with its own reason, until the first one's pause is over."""
        self.fail_server(URL, "connection refused")
        self.around.clock.advance(0.5)
        self.fail_server(OTHER_URL, "no hello in time")
        self.assertEqual(
            self.gateway.troubles(),
            [
                f"every chat server has failed lately: {URL}: connection refused;"
                f" {OTHER_URL}: no hello in time"
            ],
        )
        self.around.clock.advance(0.5)
        self.assertEqual(self.gateway.troubles(), [])

    def test_answers_again(self) -> None:
        """A server that has answered is well at once."""
        self.fail_server(URL)
        self.fail_server(OTHER_URL)
        self.recover(OTHER_URL)
        self.assertEqual(self.gateway.troubles(), [])

    def test_development(self) -> None:
        """Servers for development do not count either way."""
        self.fail_server(DEVELOPMENT_URL)
        self.assertEqual(self.gateway.troubles(), [])
        self.setUp()
        self.fail_server(URL)
        self.fail_server(OTHER_URL)
        self.assertEqual(len(self.gateway.troubles()), 1)

    def test_stopping(self) -> None:
        """A gateway that stops says so, and what else there is after it."""
        self.gateway.stop("stopping")
        self.assertEqual(self.gateway.troubles(), ["the gateway is stopping"])
        self.fail_server(URL)
        self.fail_server(OTHER_URL)
        stopping, servers = self.gateway.troubles()
        self.assertEqual(stopping, "the gateway is stopping")
        self.assertIn("every chat server", servers)

    def test_events(self) -> None:
        """Down with the reason and the pause that follows, growing; up once when it is back."""
        self.fail_server(URL, "connection refused")
        self.fail_server(URL, "connection refused")  # of the same moment: no news
        self.around.clock.advance(1.0)
        self.fail_server(URL, "no hello in time")
        self.recover(URL)
        self.recover(URL)
        down = {"server": URL, "reason": "connection refused", "pause": 1.0}
        again = {"server": URL, "reason": "no hello in time", "pause": 2.0}
        self.assertEqual(
            self.told(),
            [("backend_down", down), ("backend_down", again), ("backend_up", {"server": URL})],
        )

    def test_never_failed(self) -> None:
        """A server that was never down does not come up."""
        self.recover(URL)
        self.assertEqual(self.told(), [])
