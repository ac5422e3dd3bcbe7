"""Which chat server is next: by MAC, by load, by health."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import warnings
from xzgw.core.backends import ONE_TRY, Backends
from xzgw.core.chat_server import SLOW_START, Server
from xzgw.core.door import Conflict, NoSuchBackend
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
        """A server that answers is among those that are well, and starts from 1 s again."""
        server = self.server(A)
        for _ in range(3):
            self.clock.advance(self.pause(server))
        self.backends.failed(server, "refused")
        self.backends.succeeded(server)
        for url in (B, C):
            self.server(url).sessions = 10
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

    def test_one_at_a_time(self) -> None:
        """After its pause one session tries a server that has failed; the others go elsewhere,
        until that one is answered, or for as long as it may take.
        """
        a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 30
        self.clock.advance(self.pause(a))
        self.backends.dialled(self.choose())
        self.assertEqual((a.sessions, self.choose().url), (1, B))
        self.assertIs(self.choose(tried={B, C}), a)  # better than nothing
        self.assertIsNone(self.backends.trouble())
        self.clock.advance(ONE_TRY)  # the device has hung up, so that it is not known
        self.assertIs(self.choose(), a)
        self.backends.dialled(a)
        self.backends.succeeded(a)
        self.assertIs(self.choose(), a)

    def test_each_try_alone(self) -> None:
        """When all have failed, sessions that come at the same time do not try the same one."""
        self.fail_all()
        tried = []
        for _ in range(3):
            tried.append(self.choose().url)
            self.backends.dialled(self.choose())
        self.assertEqual(tried, [A, B, C])

    def test_tried_and_failed(self) -> None:
        """A try that fails soon is over; only the pause counts."""
        a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 30
        self.clock.advance(self.pause(a))
        self.backends.dialled(a)
        self.clock.advance(self.pause(a))
        self.assertIs(self.choose(), a)

    def test_well_ones_are_shared(self) -> None:
        """A server that has not failed takes any number at once."""
        a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 30
        for _ in range(3):
            self.backends.dialled(self.choose())
        self.assertEqual(a.sessions, 3)

    def test_all_failed(self) -> None:
        """When none is well, the one whose pause ends first is tried, then the next."""
        self.fail_all(times=2)
        for url in (B, C, A):
            self.backends.failed(self.server(url), "refused")
            self.clock.advance(0.5)
        self.assertEqual(self.choose().url, B)
        self.assertEqual(self.choose(tried={B}).url, C)
        self.assertEqual(self.choose(tried={B, C}).url, A)


class CheckTests(BackendsTestCase):
    """What checks find, next to what sessions find."""

    def setUp(self) -> None:
        super().setUp()
        self.a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 30  # more than A has, even when it starts slowly

    def test_as_bad(self) -> None:
        """A check that fails counts as a session that fails, with pauses of its own."""
        pauses = []
        for _ in range(3):
            self.backends.check_failed(self.a, "check: refused")
            pauses.append(self.a.retry_at - self.clock.seconds())
            self.assertEqual(self.choose().url, B)
            self.clock.advance(pauses[-1])
        self.assertEqual(pauses, [1, 2, 4])

    def test_heals_what_checks_found(self) -> None:
        """The pause is over at once, and people hear that the server is well."""
        self.backends.check_failed(self.a, "check: refused")
        with capturedLogs() as events:
            self.backends.check_succeeded(self.a)
        self.assertEqual((self.a.failures, self.choose().url), (0, A))
        lines = [formatEvent(event) for event in events]
        self.assertEqual(lines, ["chat server ws://a/ answers again"])

    def test_heals_nothing_else(self) -> None:
        """A session's failure stays, with its pause; nobody hears that the server is well."""
        self.backends.failed(self.a, "no hello")
        self.backends.check_failed(self.a, "check: refused")
        with capturedLogs() as events:
            self.backends.check_succeeded(self.a)
            self.backends.check_succeeded(self.a)
        self.assertEqual((self.a.failures, self.a.last_error), (1, "no hello"))
        self.assertEqual((self.a.retry_at, self.choose().url, events), (1, B, []))
        self.clock.advance(1)
        self.assertEqual(self.pause(self.a), 2)

    def test_session_heals_all(self) -> None:
        """Who answers hellos opens WebSockets."""
        self.backends.check_failed(self.a, "check: refused")
        self.backends.failed(self.a, "no hello")
        self.backends.succeeded(self.a)
        self.assertEqual((self.a.failures, self.choose().url), (0, A))

    def test_longer_pause_counts(self) -> None:
        """Of a session and a check, whichever keeps sessions away for longer; it is told so."""
        for _ in range(3):
            self.backends.check_failed(self.a, "check: refused")
            self.clock.advance(self.a.retry_at - self.clock.seconds())
        self.backends.check_failed(self.a, "check: refused")
        with capturedLogs() as events:
            self.backends.failed(self.a, "refused")
        self.assertEqual(
            warnings(events),
            ["chat server ws://a/ failed: refused; others are preferred for 8 s"],
        )


class SecretTests(BackendsTestCase):
    """Chat servers whose address has a token in it."""

    def test_not_shown(self) -> None:
        """It is dialled with it, and people read everything else."""
        url = "ws://a/?token=hush&from=mqtt_gateway"
        told = Events(self.clock.seconds, "run")
        backends = Backends(self.clock.seconds, told)
        backends.configure((url,), (), ())
        server = backends.choose(MAC)
        assert server is not None
        with capturedLogs() as logs:
            backends.failed(server, "refused")
            trouble = backends.trouble()
            backends.succeeded(server)
            backends.drain(url, True)
        said = [formatEvent(event) for event in logs]
        said += [str(event.data) for event in told.since(0)] + [str(trouble)]
        self.assertEqual(server.url, url)
        self.assertEqual(len(said), 6)
        for line in said:
            self.assertIn("ws://a/?token=***&from=mqtt_gateway", line)
            self.assertNotIn("hush", line)


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

    def test_removed(self) -> None:
        """A server that is taken away keeps its sessions, which count when it comes back."""
        a = self.server(A)
        a.sessions = 5
        self.backends.configure((B,), (), ())
        self.assertEqual(self.choose().url, B)
        self.assertIsNone(self.backends.choose(MAC, {B}))
        known = [(server.url, groups) for server, groups in self.backends.known()]
        self.assertEqual(known, [(B, ("production",)), (A, ())])
        self.assertEqual([server.url for server in self.backends.listed()], [B])
        a.sessions -= 1
        self.backends.configure((A, B), (), ())
        self.assertIs(self.server(A), a)
        self.assertEqual((a.sessions, self.choose().url), (4, B))

    def test_forgotten(self) -> None:
        """One whose last session has ended is gone; it would come back as new."""
        a = self.server(A)
        a.sessions = 1
        self.backends.configure((B,), (), ())
        a.sessions = 0
        self.assertEqual([server.url for server, _ in self.backends.known()], [B])
        self.backends.configure((B,), (), ())
        self.backends.configure((A, B), (A,), ())
        self.assertIsNot(self.server(A), a)
        self.assertEqual(self.backends.known()[0][1], ("production", "development"))


class WeightTests(BackendsTestCase):
    """Some servers take more than others."""

    def shares(self, sessions: int) -> list[int]:
        """Where that many sessions go."""
        for _ in range(sessions):
            self.choose().sessions += 1
        return [self.server(url).sessions for url in (A, B, C)]

    def test_proportional(self) -> None:
        """Sessions are spread as the weights say."""
        self.backends.configure((A, B, C), (), (), {A: 3, C: 6})
        self.assertEqual(self.shares(100), [30, 10, 60])

    def test_changed(self) -> None:
        """Other weights count for the sessions that come; a weight left out is 1."""
        self.backends.configure((A, B, C), (), (), {A: 100})
        self.assertEqual(self.shares(50), [50, 0, 0])
        self.backends.configure((A, B, C), (), ())
        self.assertEqual(self.shares(40), [50, 20, 20])

    def test_slow_start(self) -> None:
        """A server that answers again gets a tenth of its share at first, all of it after 30 s."""
        a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 19
        self.backends.failed(a, "refused")
        self.clock.advance(1)
        self.backends.succeeded(a)
        taken = []
        for _ in range(4):
            while self.choose() is a:
                a.sessions += 1
            taken.append(a.sessions)
            self.clock.advance(SLOW_START / 3)
        self.assertEqual(taken, [2, 8, 14, 20])

    def test_slow_start_resumed(self) -> None:
        """So does one that an operator gives sessions again: it may just have been started."""
        a = self.server(A)
        for url in (B, C):
            self.server(url).sessions = 19
        self.backends.drain(A, True)
        self.backends.drain(A, False)
        self.backends.drain(A, False)
        while self.choose() is a:
            a.sessions += 1
        self.assertEqual(a.sessions, 2)
        self.clock.advance(SLOW_START)
        self.backends.drain(A, False)  # it has not been drained: nothing begins anew
        while self.choose() is a:
            a.sessions += 1
        self.assertEqual(a.sessions, 20)

    def test_slow_start_alone(self) -> None:
        """It takes everything when there is no other."""
        a = self.server(A)
        self.backends.failed(a, "refused")
        self.backends.succeeded(a)
        a.sessions = 1000
        self.assertEqual(self.choose(tried={B, C}).url, A)


class DrainTests(BackendsTestCase):
    """Servers that an operator wants to be empty."""

    def test_no_new_sessions(self) -> None:
        """Neither when others are well nor when it is the last one; open sessions stay counted."""
        a = self.server(A)
        a.sessions = 1
        self.backends.drain(A, True)
        self.assertEqual(self.choose().url, B)
        self.assertIsNone(self.backends.choose(MAC, {B, C}))
        self.assertEqual(a.sessions, 1)
        self.backends.drain(A, False)
        self.assertEqual(self.choose(tried={B, C}), a)

    def test_survives_reload(self) -> None:
        """A change of the lists does not end it."""
        self.backends.drain(A, True)
        self.backends.configure((A, B), (), ())
        self.assertEqual(self.choose().url, B)

    def test_said_once(self) -> None:
        """Asking for what is so already is no news."""
        with capturedLogs() as events:
            for draining in (True, True, False, False):
                self.backends.drain(A, draining)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "chat server ws://a/ gets no new sessions, by the operator",
                "chat server ws://a/ gets new sessions again, by the operator",
            ],
        )

    def test_unknown(self) -> None:
        """There is nothing to drain."""
        self.assertRaises(NoSuchBackend, self.backends.drain, "ws://nobody/", True)

    def test_as_shown(self) -> None:
        """A server may be named as people see it, as long as no other looks the same."""
        one, two, three = (f"ws://{name}/?token=" for name in ("a", "a", "b"))
        self.backends.configure((one + "1", two + "2", three + "3"), (), ())
        self.backends.drain("ws://b/?token=***", True)
        self.assertRaises(Conflict, self.backends.drain, "ws://a/?token=***", True)
        self.backends.drain(two + "2", True)
        drained = [server.url for server in self.backends.listed() if server.draining]
        self.assertEqual(drained, [two + "2", three + "3"])
        self.backends.configure((one + "1",), (), ())
        self.backends.drain("ws://a/?token=***", True)
        self.assertTrue(self.backends.listed()[0].draining)

    def test_trouble(self) -> None:
        """With all of them draining or failing, devices cannot be served."""
        self.backends.drain(A, True)
        self.backends.failed(self.server(B), "refused")
        self.assertIsNone(self.backends.trouble())
        self.backends.drain(C, True)
        self.assertEqual(
            self.backends.trouble(),
            "every chat server is draining or has failed lately:"
            " ws://a/: draining; ws://b/: refused; ws://c/: draining",
        )
        self.backends.drain(A, False)
        self.assertIsNone(self.backends.trouble())


class OneDeviceTests(BackendsTestCase):
    """A hello that servers do not answer, though they have opened a WebSocket for it."""

    def fail(self, *devices: str) -> str | None:  # type: ignore[override]
        """All servers, each of these devices; the trouble, if it is one."""
        for device in devices:
            for url in (A, B, C):
                self.backends.failed(self.server(url), "hung up", device)
        return self.backends.trouble()

    def test_one(self) -> None:
        """May be that device's own trouble, however often it comes: others can be served."""
        for _ in range(3):
            self.assertIsNone(self.fail("ann", "ann"))
            self.assertGreater(self.server(A).retry_at, self.clock.seconds())  # all the same
            self.clock.advance(60)

    def test_two(self) -> None:
        """What two devices have met is the server's, and so is what followed on something else."""
        self.assertIsNotNone(self.fail("ann", "bob"))
        self.clock.advance(60)
        self.assertIsNotNone(self.fail("bob"))

    def test_no_websocket(self) -> None:
        """That there is no WebSocket is no device's fault."""
        self.assertIsNotNone(self.fail(""))
        self.clock.advance(60)
        self.assertIsNotNone(self.fail("ann"))

    def test_forgotten(self) -> None:
        """With an answer it begins anew."""
        self.assertIsNotNone(self.fail("ann", "bob"))
        for url in (A, B, C):
            self.backends.succeeded(self.server(url))
        self.assertIsNone(self.fail("bob"))

    def test_check(self) -> None:
        """A check that fails counts as before."""
        self.fail("ann")
        for url in (A, B, C):
            self.backends.check_failed(self.server(url), "refused")
        self.assertIsNotNone(self.backends.trouble())
