"""Reaching a server: which, with what headers, for how long, and what next."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, CREDENTIALS, VECTORS, FakeBackendLink, Surroundings, warnings
from xzgw.config import Config
from xzgw.core.chat_server import Server
from xzgw.core.device_peer import Peer
from xzgw.core.findings import Try
from xzgw.core.reach import ALL_SERVERS, Reach
from xzgw.core.session_types import (
    BackendEvent,
    BackendLost,
    BackendOpened,
    BackendSilent,
    BackendSlow,
    NoBackend,
)
from xzgw.wire import credentials

SERVERS = tuple(f"ws://{name}.example/?from=mqtt_gateway" for name in "abcde")
A, B, C, D, E = SERVERS


class ReachTestCase(SynchronousTestCase):
    """One device's dials; the test is its session."""

    def setUp(self) -> None:
        self.use(A, B, C)

    def tearDown(self) -> None:
        self.reach.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def use(self, *servers: str, config: Config = CONFIG, credential: int = 0) -> None:
        """Start over with these servers and that device of the vectors."""
        self.around = Surroundings(replace(config, production_servers=servers))
        self.around.configure()
        self.clock = self.around.clock
        self.events: list[tuple[float, BackendEvent]] = []
        client_id = CREDENTIALS[credential]["client_id"]
        identity = credentials.parse_client_id(client_id)
        peer = Peer(client_id, identity, "1.2.3.4", "192.0.2.1")
        tools = self.around.services.mcp_client(lambda text: None)
        self.unserved: list[tuple[str, tuple[Try, ...]]] = []
        self.reach = Reach(
            peer,
            self.around.services,
            tools,
            self.feed,
            lambda reason, tried: self.unserved.append((reason, tried)),
        )

    def feed(self, event: BackendEvent) -> None:
        """Note the event with its time."""
        self.events.append((self.clock.seconds(), event))

    @property
    def dial(self) -> FakeBackendLink:
        """The newest connection."""
        return self.around.dialer.dials[-1]

    @property
    def dialled(self) -> list[str]:
        """URLs, in order."""
        return [dial.url for dial in self.around.dialer.dials]

    def server(self, url: str) -> Server:
        """What is known of a server."""
        server = self.around.services.backends.choose("", set(SERVERS) - {url})
        assert server is not None
        return server

    def sessions(self) -> list[int]:
        """Sessions counted at A, B and C."""
        return [self.server(url).sessions for url in (A, B, C)]

    def pause(self, url: str) -> float:
        """For how long the server is left alone from now on."""
        return self.server(url).retry_at - self.clock.seconds()


class HeaderTests(ReachTestCase):
    """What a server reads in the handshake."""

    def test_without_secret(self) -> None:
        """Five headers, the placeholder as token, the URL to the letter."""
        self.reach.dial(1, True)
        self.assertEqual(self.dial.url, A)
        expected = {
            "device-id": "a0:85:e3:f4:49:34",
            "client-id": "aeebef32-f0ef-4bce-9d8a-894d91bc6932",
            "protocol-version": "2",
            "authorization": "Bearer test-token",
            "x-forwarded-for": "1.2.3.4",
        }
        self.assertEqual(self.dial.headers, expected)

    def test_tokens(self) -> None:
        """With a secret the token is the one the server computes, for whole seconds."""
        self.assertEqual(len(VECTORS["server_tokens"]), 2)
        for number, vector in enumerate(VECTORS["server_tokens"]):
            config = replace(CONFIG, server_secret=vector["secret"])
            self.use(A, config=config, credential=number)
            self.around.now = vector["unix_seconds"] + 0.999
            self.reach.dial(1, True)
            headers = self.dial.headers
            self.assertEqual(headers["authorization"], f"Bearer {vector['token']}")
            self.assertEqual(headers["device-id"], vector["mac"])
            self.assertEqual(headers["client-id"], vector["uuid"])
            self.reach.stop()

    def test_case_of_mac(self) -> None:
        """The MAC is shown as the device sent it: the token depends on its case."""
        self.use(A, credential=2)
        self.reach.dial(1, True)
        self.assertEqual(self.dial.headers["device-id"], "AA:BB:CC:00:0F:FF")


class BudgetTests(ReachTestCase):
    """2.5 s for each server, 9 s for all."""

    def run_out(self) -> None:
        """Answer each BackendSilent as the session does, until there is no server left."""
        number = 1
        self.reach.dial(number, True)
        while self.clock.getDelayedCalls():
            self.clock.advance(0.25)
            if self.events and self.events[-1][1] == BackendSilent(number):
                number += 1
                self.reach.dial(number, False)

    def test_share(self) -> None:
        """A server is silent after 2.5 s, not before."""
        self.reach.dial(1, True)
        self.clock.advance(2.49)
        self.assertEqual(self.events, [])
        self.clock.advance(0.01)
        self.assertEqual(self.events, [(2.5, BackendSilent(1))])
        self.assertGreater(self.pause(A), 0)

    def test_last_gets_the_rest(self) -> None:
        """The last server may take what the others left of the 9 s."""
        self.run_out()
        self.assertEqual(
            self.events,
            [
                (2.5, BackendSilent(1)),
                (5.0, BackendSilent(2)),
                (9.0, BackendSilent(3)),
                (9.0, NoBackend(4, "no chat server answered")),
            ],
        )
        self.assertEqual(self.dialled, [A, B, C])

    def test_only_one(self) -> None:
        """A single server has all the time."""
        self.use(A)
        self.run_out()
        self.assertEqual([at for at, _ in self.events], [9.0, 9.0])

    def test_too_many(self) -> None:
        """The time in all is 9 s, however many servers there are."""
        self.use(*SERVERS)
        self.run_out()
        self.assertEqual([at for at, _ in self.events], [2.5, 5.0, 7.5, 9.0, 9.0])
        self.assertEqual(self.dialled, [A, B, C, D])

    def test_fast_refusals_leave_time(self) -> None:
        """Servers that refuse at once cost nothing; the last one has the rest."""
        self.reach.dial(1, True)
        for number in (2, 3):
            self.dial.lose("refused")
            self.reach.dial(number, False)
        self.clock.advance(8.99)
        self.assertEqual([e for _, e in self.events], [BackendLost(n, "refused") for n in (1, 2)])
        self.clock.advance(0.01)
        self.assertEqual(self.events[-1], (9.0, BackendSilent(3)))

    def test_new_hello_new_time(self) -> None:
        """A fresh dial has all servers and all the time again."""
        self.run_out()
        self.clock.advance(100)
        self.events.clear()
        self.reach.dial(9, True)
        self.assertEqual((self.dial.url, self.reach.started_at), (A, 109.0))
        self.clock.advance(2.5)
        self.assertEqual(self.events, [(111.5, BackendSilent(9))])

    def test_stop(self) -> None:
        """A dial that is not wanted any more makes no more news."""
        self.reach.dial(1, True)
        self.reach.greeted(1)
        self.reach.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_left(self) -> None:
        """The warning says what came of each server."""
        self.use(A, B)
        with capturedLogs() as logs:
            self.reach.dial(1, True)
            self.dial.lose("refused")
            self.reach.dial(2, False)
            self.clock.advance(9)
            self.reach.dial(3, False)
        self.assertEqual(
            warnings(logs)[-1],
            f"{CREDENTIALS[0]['client_id']}: no session, no chat server answered its hello: "
            f"{A}: refused; {B}: no hello within 9.0 s",
        )
        tried = (Try(A, "refused"), Try(B, "no hello within 9.0 s"))
        self.assertEqual(self.unserved, [("no chat server answered", tried)])
        self.assertEqual(self.around.services.tally.current().failed, 1)

    def test_all_drained(self) -> None:
        """Without a server to try, device, log and diagnosis have that as the reason."""
        for url in (A, B, C):
            self.around.services.backends.drain(url, True)
        with capturedLogs() as logs:
            self.reach.dial(1, True)
        why = "every chat server is being drained"
        self.assertEqual(self.events, [(0.0, NoBackend(1, why))])
        client_id = CREDENTIALS[0]["client_id"]
        self.assertEqual(warnings(logs), [f"{client_id}: no session, {why}"])
        self.assertEqual(self.unserved, [(why, ())])

    def test_nobody_takes_the_hello(self) -> None:
        """How far it came with a server, and what that said."""
        self.use(A)
        self.reach.dial(1, True)
        self.dial.open()
        self.dial.says(b"no")
        self.dial.lose("server closed with 1000")
        self.reach.dial(2, False)
        tried = (Try(A, "server closed with 1000", opened=True, said="no"),)
        self.assertEqual(self.unserved, [("no chat server answered", tried)])


class SecretTests(ReachTestCase):
    """A chat server with a token in its address."""

    URL = "ws://a.example/?token=hush&from=mqtt_gateway"
    SHOWN = "ws://a.example/?token=***&from=mqtt_gateway"

    def setUp(self) -> None:
        self.use(self.URL)

    def test_log(self) -> None:
        """It is dialled with it; no line of the log has it."""
        with capturedLogs() as logs:
            self.reach.dial(1, True)
            self.dial.open()
            self.dial.says(b"not JSON")
            self.dial.lose("closed")
            self.reach.dial(2, False)
        self.assertEqual(self.dialled, [self.URL])
        lines = warnings(logs)
        self.assertEqual(len(lines), 3)
        for line in lines:
            self.assertIn(self.SHOWN, line)
            self.assertNotIn("hush", line)

    def test_reached(self) -> None:
        """Nor has what people see of the session."""
        self.reach.dial(1, True)
        self.assertEqual(self.reach.reached(), self.SHOWN)


class BlameTests(ReachTestCase):
    """Whether a failure may be the device's own."""

    def test_hung_up(self) -> None:
        """It may if there was a WebSocket, and may not if there was none."""
        self.use(A)
        for opened in (True, False):
            self.reach.dial(1, True)
            if opened:
                self.dial.open()
            self.dial.lose("reset")
            ready = self.around.services.backends.trouble() is None
            self.assertEqual(ready, opened)
            self.clock.advance(60)

    def test_silent(self) -> None:
        """The same for a server that says nothing."""
        self.use(A)
        for opened in (True, False):
            self.reach.dial(1, True)
            if opened:
                self.dial.open()
            self.clock.advance(ALL_SERVERS)
            ready = self.around.services.backends.trouble() is None
            self.assertEqual(ready, opened)
            self.clock.advance(60)


class GreetingTests(ReachTestCase):
    """From the greeting to the answer."""

    def test_hello_repeated_once(self) -> None:
        """2 s without an answer, and the session is told so, once."""
        self.use(A)
        self.reach.dial(1, True)
        self.clock.advance(0.5)
        self.dial.open()
        self.reach.greeted(1)
        self.clock.advance(1.99)
        self.assertEqual(self.events, [(0.5, BackendOpened(1))])
        self.clock.pump([0.01] + [0.25] * 25)
        self.assertEqual(self.events[1:], [(2.5, BackendSlow(1))])

    def test_reached(self) -> None:
        """With the answer all timers end, and the server counts as well again."""
        self.around.services.backends.failed(self.server(A), "refused")
        self.reach.dial(1, True)
        self.assertEqual(self.dial.url, B)
        self.reach.dial(2, False)
        self.reach.dial(3, False)
        self.assertEqual(self.dial.url, A)
        self.reach.greeted(3)
        self.assertEqual(self.reach.reached(), A)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertLessEqual(self.pause(A), 0)

    def test_lost_after_answer(self) -> None:
        """The end of an answered connection is no failure of its server."""
        self.reach.dial(1, True)
        self.dial.open()
        self.reach.reached()
        self.dial.lose("closed")
        self.assertLessEqual(self.pause(A), 0)
        self.assertEqual(self.events[-1][1], BackendLost(1, "closed"))

    def test_lost_before_answer(self) -> None:
        """A server that hangs up on the hello has failed."""
        self.reach.dial(1, True)
        self.dial.open()
        self.dial.lose("closed")
        self.assertEqual(self.pause(A), 1)

    def test_hung_up_before_answer(self) -> None:
        """When we hang up ourselves, the server did nothing wrong."""
        link = self.reach.dial(1, True)
        assert link is not None
        link.close(1000, "device said goodbye")
        self.assertLessEqual(self.pause(A), 0)

    def test_silent_then_lost(self) -> None:
        """Silence is one failure; the end of that connection is not another."""
        link = self.reach.dial(1, True)
        assert link is not None
        self.dial.open()
        self.clock.advance(2.5)
        self.assertEqual(self.pause(A), 1)
        link.close(1000, "no hello in time")
        self.clock.advance(1)
        self.dial.lose("closed")
        self.assertEqual(self.pause(A), 0)

    def test_sessions_counted(self) -> None:
        """A server's sessions count from the dial to the end of the connection."""
        link = self.reach.dial(1, True)
        assert link is not None
        self.dial.open()
        self.reach.dial(2, True)
        self.assertEqual(self.sessions(), [1, 1, 0])
        link.close(1000, "replaced")
        self.assertEqual(self.sessions(), [1, 1, 0])
        self.around.dialer.dials[0].lose("closed")
        self.assertEqual(self.sessions(), [0, 1, 0])
        self.dial.lose("refused")
        self.assertEqual(self.sessions(), [0, 0, 0])
