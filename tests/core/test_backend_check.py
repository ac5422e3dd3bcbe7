"""Chat servers are asked for a WebSocket now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, URL, FakeBackendLink, Surroundings
from xzgw.core.backend_check import ANSWER_TIME, LOOK_EVERY, BackendCheck
from xzgw.core.chat_server import LONGEST_PAUSE, Server
from xzgw.core.ports import BackendEvents

OTHER_URL = "ws://other/?from=mqtt_gateway"
EVERY = 30


class BackendCheckTestCase(SynchronousTestCase):
    """Two servers, asked every EVERY seconds."""

    def setUp(self) -> None:
        config = replace(CONFIG, production_servers=(URL, OTHER_URL), backend_check_seconds=EVERY)
        self.around = Surroundings(config)
        self.around.configure()
        self.backends = self.around.services.backends
        self.dials = self.around.dialer.dials
        self.check = BackendCheck(self.around.services)

    def server(self, url: str) -> Server:
        """The one with this URL."""
        (found,) = (each for each in self.backends.listed() if each.url == url)
        return found

    def look_after(self, seconds: float) -> list[str]:
        """Let time pass, then look; the URLs dialled."""
        before = len(self.dials)
        self.around.clock.advance(seconds)
        self.check.look()
        return [dial.url for dial in self.dials[before:]]


class BackendCheckTests(BackendCheckTestCase):
    """What checks do and find."""

    def test_off(self) -> None:
        """With 0 nobody is asked; the setting counts as it is now."""
        self.around.services.config = replace(CONFIG, backend_check_seconds=0)
        self.assertEqual(self.look_after(1000), [])
        self.around.services.config = replace(CONFIG, backend_check_seconds=EVERY)
        self.assertEqual(self.look_after(0), [URL, OTHER_URL])

    def test_every(self) -> None:
        """Each server is asked at once, and EVERY seconds later again; no device is named."""
        self.assertEqual(self.look_after(0), [URL, OTHER_URL])
        self.assertEqual(self.dials[0].headers, {})
        for dial in self.dials:
            dial.open()
            dial.lose("closed")
        self.assertEqual(self.look_after(EVERY - 1), [])
        self.assertEqual(self.look_after(1), [URL, OTHER_URL])

    def test_well(self) -> None:
        """A server that answers is well; the connection is closed, whatever it says."""
        server = self.server(URL)
        self.look_after(0)
        for dial in self.dials:
            dial.lose("connection refused")
        self.assertEqual(server.failures, 1)
        self.assertNotEqual(self.look_after(EVERY), [])
        dial = self.dials[-2]
        dial.open()
        self.assertEqual((server.failures, dial.closed), (0, [(1000, "check")]))
        dial.says(b"hello, stranger")
        dial.plays(bytes(20))
        dial.lose("closed")
        self.assertEqual((server.failures, server.sessions), (0, 0))

    def test_hellos_unanswered(self) -> None:
        """One that opens WebSockets but answers no hello stays failing, its pauses still growing,
        until a session is answered.
        """
        server = self.server(URL)
        pauses = []
        for _ in range(4):
            self.backends.failed(server, "no hello in time")
            pauses.append(server.retry_at - self.around.clock.seconds())
            self.look_after(EVERY)
            for dial in self.dials:
                dial.open()
                dial.lose("closed")
        self.assertEqual(pauses, [1, 2, 4, 8])
        self.assertEqual((server.failures, server.last_error), (4, "no hello in time"))
        self.backends.succeeded(server)
        self.assertEqual((server.failures, server.retry_at), (0, 0))

    def test_ready_again(self) -> None:
        """Without any device: once a check succeeds the servers are well, whatever sessions that
        are long over have found.
        """
        for server in self.backends.listed():
            self.backends.failed(server, "no hello in time")
        for _ in range(8):
            self.look_after(EVERY)
            for dial in self.dials:
                dial.lose("connection refused")
        self.assertIn("check: connection refused", self.backends.trouble() or "")
        self.look_after(EVERY)
        self.dials[-1].open()
        self.assertIsNone(self.backends.trouble())

    def test_closes_late(self) -> None:
        """One that answered but does not close is not asked again before it has."""
        self.look_after(0)
        for dial in self.dials:
            dial.open()
        self.assertEqual(self.look_after(EVERY), [])
        self.assertEqual(self.server(URL).failures, 0)
        self.dials[0].lose("closed")
        self.assertEqual(self.look_after(0), [URL])

    def test_failing(self) -> None:
        """One that refuses is left alone as after a failed session."""
        self.look_after(0)
        self.dials[0].lose("connection refused")
        server = self.server(URL)
        self.assertEqual((server.failures, server.last_error), (1, "check: connection refused"))
        self.assertEqual(self.server(OTHER_URL).failures, 0)

    def test_silent(self) -> None:
        """One that is silent for ANSWER_TIME fails, once, and is given up."""
        self.look_after(0)
        self.assertEqual(self.look_after(ANSWER_TIME - 0.1), [])
        server = self.server(URL)
        self.assertEqual(server.failures, 0)
        self.look_after(0.1)
        self.assertEqual(server.failures, 1)
        self.assertEqual(server.last_error, "check: no answer within 5 s")
        self.assertEqual(self.dials[0].closed, [(1000, "check")])
        self.look_after(1)
        self.assertEqual((server.failures, len(self.dials)), (1, 2))

    def test_refused_at_once(self) -> None:
        """A connection that fails while it is being made is over."""
        around = Surroundings(self.around.services.config, refused=[URL])
        around.configure()
        check = BackendCheck(around.services)
        check.look()
        (server, _) = around.services.backends.listed()
        self.assertEqual(server.failures, 1)
        around.clock.advance(EVERY)
        check.look()
        self.assertEqual([dial.url for dial in around.dialer.dials].count(URL), 2)

    def test_answers_at_once(self) -> None:
        """One that answers while it is being dialled is closed as any other."""
        dialer = self.around.dialer

        def dial(url: str, headers: Mapping[str, str], events: BackendEvents) -> FakeBackendLink:
            link = dialer(url, headers, events)
            link.open()
            return link

        self.around.services.dial = dial
        self.look_after(0)
        self.assertEqual([dial.closed for dial in self.dials], [[(1000, "check")]] * 2)

    def test_stop(self) -> None:
        """At the end what is under way is closed, and says nothing about the servers."""
        self.look_after(0)
        self.check.stop()
        for dial in self.dials:
            self.assertEqual(dial.closed, [(1001, "check")])
        self.assertEqual(self.server(URL).failures, 0)
        self.check.stop()
        self.assertEqual(len(self.dials[0].closed), 1)


class HeldTests(BackendCheckTestCase):
    """Where sessions go while the first of the two servers is silent."""

    def setUp(self) -> None:
        super().setUp()
        self.well = {OTHER_URL}
        self.server(OTHER_URL).sessions = 5  # the silent one has fewer
        self.spend(ANSWER_TIME + 1)

    def set_every(self, seconds: int) -> None:
        config = replace(self.around.services.config, backend_check_seconds=seconds)
        self.around.services.config = config

    def spend(self, seconds: float) -> set[str]:
        """Look regularly; servers that are well answer, and all see a close. A session comes each
        second: the URLs where they went."""
        chosen = set()
        for _ in range(int(seconds / LOOK_EVERY)):
            self.look_after(LOOK_EVERY)
            for dial in self.dials:
                if dial.url in self.well and not dial.closed:
                    dial.open()
                if dial.closed:
                    dial.lose("closed")
            server = self.backends.choose("")
            assert server is not None
            chosen.add(server.url)
        return chosen

    def test_no_session_waits(self) -> None:
        """Once a check has failed no session tries it, whatever the time between checks."""
        for every in (1, 2, EVERY, 3600):
            self.set_every(every)
            self.spend(LONGEST_PAUSE)
            self.assertEqual(self.spend(3 * LONGEST_PAUSE), {OTHER_URL}, every)

    def test_answers_again(self) -> None:
        """A check that succeeds is enough, and comes within a minute however rare checks are."""
        self.set_every(3600)
        self.spend(2 * LONGEST_PAUSE)
        self.well.add(URL)
        self.spend(LONGEST_PAUSE + 1)
        server = self.server(URL)
        self.assertEqual((server.failures, server.held_until), (0, 0.0))
        self.server(OTHER_URL).sessions = 99
        self.assertEqual(self.spend(1), {URL})
        dialled = len(self.dials)
        self.spend(1000)
        self.assertEqual(len(self.dials), dialled)

    def test_session_is_enough(self) -> None:
        """So is a session that is answered."""
        server = self.server(URL)
        self.backends.succeeded(server)
        self.server(OTHER_URL).sessions = 99
        self.assertIs(self.backends.choose(""), server)

    def test_nothing_else_left(self) -> None:
        """It is tried when the other one was, and comes after one that failed a session."""
        self.assertIs(self.backends.choose("", {OTHER_URL}), self.server(URL))
        self.backends.failed(self.server(OTHER_URL), "no hello")
        self.assertIs(self.backends.choose(""), self.server(OTHER_URL))

    def test_both_silent(self) -> None:
        """Then sessions do not all try the same one at the same time."""
        self.well.clear()
        self.spend(EVERY + ANSWER_TIME)
        self.assertIsNotNone(self.backends.trouble())
        tried = []
        for _ in range(2):
            server = self.backends.choose("")
            assert server is not None
            self.backends.dialled(server)
            tried.append(server.url)
        self.assertEqual(set(tried), {URL, OTHER_URL})

    def test_turned_off(self) -> None:
        """Without checks nothing would find it well, so what they have found counts no longer."""
        self.set_every(3600)
        self.spend(2 * LONGEST_PAUSE)
        self.set_every(0)
        self.assertEqual(self.spend(LONGEST_PAUSE), {OTHER_URL, URL})
