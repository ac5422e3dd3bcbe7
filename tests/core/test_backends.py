"""Which chat server is next: by MAC, by load, by health."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import warnings
from xzgw.core.backends import Backends, Server
from xzgw.core.events import Events

A, B, C, DEV = "ws://a/", "ws://b/", "ws://c/", "ws://dev/"
MAC, DEV_MAC = "a0:85:e3:f4:49:34", "aa:bb:cc:dd:ee:ff"


class BackendsTestCase(SynchronousTestCase):
    """Three production servers and one for development."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backends = Backends(self.clock.seconds, Events(self.clock.seconds, "run"))
        self.backends.configure((A, B, C), (DEV,), {DEV_MAC})

    def choose(self, mac: str = MAC, tried: Iterable[str] = ()) -> Server:
        """The choice, which there must be."""
        server = self.backends.choose(mac, tuple(tried))
        assert server is not None
        return server

    def fail_all(self, times: int = 1) -> None:
        """Each production server fails, its pause over in between."""
        for _ in range(times):
            for url in (A, B, C):
                self.backends.failed(self.server(url), "refused")
            self.clock.advance(60)

    def server(self, url: str) -> Server:
        """The one with this URL."""
        return self.choose(DEV_MAC if url == DEV else MAC, {A, B, C, DEV} - {url})

    def pause(self, server: Server) -> float:
        """Fail it; for how long it is then left alone."""
        self.backends.failed(server, "refused")
        return server.retry_at - self.clock.seconds()


class GroupTests(BackendsTestCase):
    """Production or development."""

    def test_development_by_mac(self) -> None:
        """Listed devices go to the development servers, whatever the case of their MAC."""
        self.assertEqual(self.choose(DEV_MAC).url, DEV)
        self.assertEqual(self.choose(DEV_MAC.upper()).url, DEV)
        self.assertEqual(self.choose(MAC).url, A)
        self.assertIsNone(self.backends.choose(DEV_MAC, {DEV}))

    def test_no_development_servers(self) -> None:
        """Listed devices use production when there is nothing else."""
        self.backends.configure((A,), (), {DEV_MAC})
        self.assertEqual(self.choose(DEV_MAC).url, A)

    def test_no_server_at_all(self) -> None:
        """Before a configuration is taken there is nothing to choose from."""
        events = Events(self.clock.seconds, "run")
        self.assertIsNone(Backends(self.clock.seconds, events).choose(MAC))


class LoadTests(BackendsTestCase):
    """Fewest sessions first."""

    def test_fewest_sessions(self) -> None:
        """Each session goes where the fewest are; equal ones in the order configured."""
        order = []
        for _ in range(6):
            server = self.choose()
            server.sessions += 1
            order.append(server.url)
        self.assertEqual(order, [A, B, C, A, B, C])
        self.server(B).sessions -= 1
        self.assertEqual(self.choose().url, B)

    def test_tried_ones_not_again(self) -> None:
        """Servers tried for the same hello are out, however idle."""
        self.server(B).sessions = 5
        self.assertEqual(self.choose(tried={A, C}).url, B)
        self.assertIsNone(self.backends.choose(MAC, {A, B, C}))


class HealthTests(BackendsTestCase):
    """A server that fails is left alone for a growing while."""

    def test_left_alone(self) -> None:
        """Busier servers that are well come before it, until its pause is over."""
        for url in (B, C):
            self.server(url).sessions = 9
        self.backends.failed(self.server(A), "refused")
        self.assertEqual(self.choose().url, B)
        self.clock.advance(0.99)
        self.assertEqual(self.choose().url, B)
        self.clock.advance(0.01)
        self.assertEqual(self.choose().url, A)

    def test_pause_doubles(self) -> None:
        """1 s at first, then twice as long each time, up to 60 s however often it fails."""
        server = self.server(A)
        pauses = []
        for _ in range(40):
            pauses.append(self.pause(server))
            self.clock.advance(pauses[-1])
        self.assertEqual(pauses[:8], [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(set(pauses[8:]), {60})

    def test_many_at_once_are_one(self) -> None:
        """A hundred dials that fail together lengthen the pause once, and log one warning."""
        server = self.server(A)
        with capturedLogs() as events:
            for number in range(100):
                self.backends.failed(server, f"refused {number}")
        self.assertEqual(server.retry_at, 1)
        self.assertEqual(server.last_error, "refused 99")
        self.assertEqual(
            warnings(events),
            ["chat server ws://a/ failed: refused 0; others are preferred for 1 s"],
        )
        self.clock.advance(1)
        self.assertEqual(self.pause(server), 2)

    def test_success_resets(self) -> None:
        """A server that answers counts as well at once, and starts from 1 s again."""
        server = self.server(A)
        for _ in range(3):
            self.clock.advance(self.pause(server))
        self.backends.failed(server, "refused")
        self.backends.succeeded(server)
        self.assertEqual(self.choose().url, A)
        self.assertEqual(self.pause(server), 1)

    def test_recovery_is_logged_once(self) -> None:
        """An operator reads when a server answers again, and nothing about usual answers."""
        server = self.server(A)
        self.backends.failed(server, "refused")
        with capturedLogs() as events:
            self.backends.succeeded(server)
            self.backends.succeeded(server)
        self.assertEqual(
            [formatEvent(event) for event in events], ["chat server ws://a/ answers again"]
        )

    def test_all_failed(self) -> None:
        """When none is well, the one whose pause ends first is tried, then the next."""
        self.fail_all(times=2)
        for url in (B, C, A):
            self.backends.failed(self.server(url), "refused")
            self.clock.advance(0.5)
        self.assertEqual(self.choose().url, B)
        self.assertEqual(self.choose(tried={B}).url, C)
        self.assertEqual(self.choose(tried={B, C}).url, A)


class ConfigureTests(BackendsTestCase):
    """A changed list of servers."""

    def test_state_survives(self) -> None:
        """A server in both lists, the old and the new, keeps its sessions and its pause."""
        a = self.server(A)
        a.sessions = 7
        self.backends.failed(a, "refused")
        self.backends.configure((B, A), (DEV,), {DEV_MAC})
        self.assertIs(self.server(A), a)
        self.assertEqual(self.choose().url, B)
        self.assertEqual(self.choose(tried={B}).sessions, 7)
        self.assertIsNone(self.backends.choose(MAC, {A, B}))

    def test_same_server_in_both_groups(self) -> None:
        """A server has one state, whichever devices it serves; twice in a list is once."""
        self.backends.configure((A, A, B), (A,), {DEV_MAC})
        self.choose(DEV_MAC).sessions = 3
        self.assertEqual(self.choose().url, B)
        self.assertEqual(self.choose(tried={B}).sessions, 3)

    def test_macs_change(self) -> None:
        """The list of development devices is taken anew, too."""
        self.backends.configure((A,), (DEV,), {MAC})
        self.assertEqual(self.choose(MAC).url, DEV)
        self.assertEqual(self.choose(DEV_MAC).url, A)
