"""How much the gateway takes on."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, warnings
from xzgw.config import Config
from xzgw.core.limits import DRAINING, REASONS, TELL_EVERY, Limits
from xzgw.settings.limits import LimitsConfig

A, B = "192.0.2.1", "2001:db8::1"
B_TOO, C = "2001:db8::ffff:1", "2001:db8:0:1::1"  # of the network of B, and of another one


def with_limits(**limits: int) -> Config:
    return replace(CONFIG, limits=LimitsConfig(**limits))


class LimitsTestCase(SynchronousTestCase):
    """On a clock that stands still."""

    now = 1000.0

    def limits(self, **values: int) -> Limits:
        return Limits(lambda: self.now, with_limits(**values))


class StrangerTests(LimitsTestCase):
    """Connections that have shown no good credentials yet."""

    def test_counted(self) -> None:
        """From their arrival until they are settled."""
        limits = self.limits(max_unauthenticated=2)
        self.assertEqual([limits.arrived(A), limits.arrived(B)], [None, None])
        self.assertEqual(limits.arrived(A), "max_unauthenticated (2) is reached")
        self.assertEqual(limits.unauthenticated, 2)
        limits.settled(A)
        self.assertIsNone(limits.arrived(B))
        self.assertEqual(limits.refused, {"max_unauthenticated": 1})

    def test_per_second(self) -> None:
        """As many at once as in a second, then one for each share of a second."""
        limits = self.limits(max_connects_per_second=4)
        self.assertEqual([limits.arrived(A) for _ in range(4)], [None] * 4)
        self.assertEqual(limits.arrived(B), "max_connects_per_second (4) is reached")
        self.now += 0.25
        self.assertIsNone(limits.arrived(A))
        self.assertIsNotNone(limits.arrived(A))
        self.assertEqual(limits.unauthenticated, 5)
        self.assertEqual(limits.refused, {"max_connects_per_second": 2})

    def test_per_address(self) -> None:
        """Off unless configured; then others' connections do not count."""
        limits = self.limits()
        self.assertEqual([limits.arrived(A) for _ in range(50)], [None] * 50)
        limits = self.limits(max_connections_per_address=1)
        self.assertIsNone(limits.arrived(A))
        self.assertEqual(limits.arrived(A), "max_connections_per_address (1) is reached")
        self.assertIsNone(limits.arrived(B))
        limits.settled(A)
        self.assertIsNone(limits.arrived(A))

    def test_network(self) -> None:
        """An IPv6 /64 counts as one address."""
        limits = self.limits(max_connections_per_address=1)
        self.assertIsNone(limits.arrived(B))
        self.assertEqual(limits.arrived(B_TOO), "max_connections_per_address (1) is reached")
        self.assertIsNone(limits.arrived(C))
        limits.settled(B)
        self.assertIsNone(limits.arrived(B_TOO))

    def test_proxied(self) -> None:
        """Who has not said where it comes from counts in all, but for no address."""
        limits = self.limits(max_unauthenticated=2, max_connections_per_address=1)
        named = limits.proxied()
        self.assertIsNotNone(limits.proxied())
        self.assertIsNone(limits.proxied())
        self.assertIsNotNone(limits.arrived(A))
        assert named is not None
        named()
        self.assertIsNone(limits.arrived(A))
        self.assertEqual((limits.unauthenticated, limits.refused["max_unauthenticated"]), (2, 2))


class ApiTests(LimitsTestCase):
    """Connections of the admin API."""

    def test_most(self) -> None:
        """One that is gone makes room."""
        limits = self.limits(max_api_connections=2)
        self.assertTrue(limits.called() and limits.called())
        self.assertFalse(limits.called())
        limits.hung_up()
        self.assertTrue(limits.called())
        self.assertEqual((limits.api_connections, limits.refused), (2, {"max_api_connections": 1}))

    def test_behind_proxy(self) -> None:
        """Those that wait for their header count among them."""
        limits = self.limits(max_api_connections=1)
        gone = limits.calling()
        self.assertEqual((limits.calling(), limits.called()), (None, False))
        assert gone is not None
        gone()
        self.assertEqual(limits.api_connections, 0)


class DeviceTests(LimitsTestCase):
    """Those that are let in."""

    def test_in_all(self) -> None:
        """One that leaves makes room; one that takes over needs none."""
        limits = self.limits(max_connections=2)
        for ip in (A, B):
            self.assertIsNone(limits.full(ip, None))
            limits.admitted(ip)
        self.assertEqual(limits.full(A, None), "max_connections (2) is reached")
        self.assertIsNone(limits.full(A, B))
        limits.left(B)
        self.assertIsNone(limits.full(A, None))
        self.assertEqual((limits.devices, limits.refused), (1, {"max_connections": 1}))

    def test_per_address(self) -> None:
        """One that takes over needs room unless its old connection is from the same address."""
        limits = self.limits(max_connections_per_address=1)
        limits.admitted(A)
        self.assertEqual(limits.full(A, None), "max_connections_per_address (1) is reached")
        self.assertIsNotNone(limits.full(A, B))
        self.assertIsNone(limits.full(A, A))
        self.assertIsNone(limits.full(B, None))
        limits.left(A)
        self.assertIsNone(limits.full(A, None))

    def test_expected(self) -> None:
        """A drain is for those who come after; what stands before CONNECT is counted."""
        limits = self.limits()
        for ip in (A, B):
            limits.arrived(ip)
            self.assertTrue(limits.expect(self.now))
        self.now += 1
        limits.drain()
        limits.arrived(A)
        self.assertFalse(limits.expect(self.now))
        limits.arrived(A)
        self.assertTrue(limits.expect(self.now - 0.5))  # its PROXY header took that long
        self.assertEqual((limits.expected, limits.unauthenticated), (3, 4))
        self.assertIsNone(limits.full(A, None, True))
        self.assertEqual(limits.full(A, None, False), DRAINING)
        for ip, expected in ((A, True), (A, False), (B, True), (A, True)):
            limits.settled(ip, expected)
        self.assertEqual((limits.expected, limits.unauthenticated), (0, 0))

    def test_expected_behind_proxy(self) -> None:
        """Those whose header is not there when the drain begins are expected, too."""
        limits = self.limits()
        before = limits.proxied()
        limits.drain()
        after = limits.proxied()
        self.assertEqual((limits.expected, limits.unauthenticated), (1, 2))
        assert before is not None and after is not None
        after()
        self.assertEqual((limits.expected, limits.unauthenticated), (1, 1))
        before()
        self.assertEqual((limits.expected, limits.unauthenticated), (0, 0))

    def test_network(self) -> None:
        """An IPv6 /64 counts as one address, also when a device moves within it."""
        limits = self.limits(max_connections_per_address=1)
        limits.admitted(B)
        self.assertIsNotNone(limits.full(B_TOO, None))
        self.assertIsNone(limits.full(B_TOO, B))
        self.assertIsNone(limits.full(C, None))
        limits.left(B)
        self.assertIsNone(limits.full(B_TOO, None))

    def test_draining(self) -> None:
        """Nobody, not even to take over."""
        limits = self.limits()
        limits.draining = True
        self.assertEqual([limits.full(A, None), limits.full(A, A)], [DRAINING] * 2)
        self.assertEqual(limits.refused, {"draining": 2})


class SessionTests(LimitsTestCase):
    """Sessions are counted by the devices."""

    def test_most(self) -> None:
        """At the limit a session can only take the place of one that is open."""
        limits = self.limits(max_sessions=3)
        limits.sessions = 2
        self.assertIsNone(limits.no_session(replaces=False))
        limits.sessions = 3
        self.assertEqual(limits.no_session(replaces=False), "max_sessions (3) is reached")
        self.assertIsNone(limits.no_session(replaces=True))
        self.assertEqual(limits.refused, {"max_sessions": 1})

    def test_draining(self) -> None:
        """None at all."""
        limits = self.limits()
        limits.draining = True
        self.assertEqual([limits.no_session(r) for r in (False, True)], [DRAINING] * 2)


class LogTests(LimitsTestCase):
    """For the operator."""

    def test_once_in_a_while(self) -> None:
        """At once, then no more than once per interval, with the number since; each by itself."""
        limits = self.limits(max_unauthenticated=1)
        limits.arrived(A)
        with capturedLogs() as log:
            for _ in range(5):
                limits.arrived(A)
            self.now += TELL_EVERY - 0.1
            limits.arrived(A)
            self.now += 0.1
            limits.arrived(A)
            limits.draining = True
            limits.full(A, None)
        reached = "max_unauthenticated (1) is reached: refusing what is new;"
        self.assertEqual(
            warnings(log),
            [
                f"{reached} 1 since the last such line",
                f"{reached} 6 since the last such line",
                f"{DRAINING}: refusing what is new; 1 since the last such line",
            ],
        )
        self.assertEqual(limits.refused["max_unauthenticated"], 7)


class ReasonTests(LimitsTestCase):
    """Why something is refused."""

    def test_all(self) -> None:
        """REASONS has all that there are."""
        limits = self.limits(
            max_connections=1,
            max_connects_per_second=2,
            max_unauthenticated=1,
            max_api_connections=1,
            max_sessions=1,
        )
        self.assertIsNone(limits.arrived(A))
        limits.admitted(A)
        limits.called()
        limits.sessions = 1
        for refuse in (lambda: limits.arrived(A), lambda: limits.arrived(A), limits.called):
            refuse()
        limits.full(A, None)
        limits.no_session(replaces=False)
        limits.configure(with_limits(max_connections_per_address=1))
        limits.full(A, None)
        limits.draining = True
        limits.full(A, None)
        self.assertEqual(limits.refused, dict.fromkeys(REASONS, 1))


class ConfigureTests(LimitsTestCase):
    """While it runs."""

    def test_lower(self) -> None:
        """Who is there stays and is still counted."""
        limits = self.limits()
        for _ in range(3):
            limits.admitted(A)
        limits.configure(with_limits(max_connections=3))
        self.assertIsNotNone(limits.full(A, None))
        limits.left(A)
        self.assertIsNone(limits.full(A, None))

    def test_pace(self) -> None:
        """Another pace starts afresh, the same one goes on."""
        limits = self.limits(max_connects_per_second=1)
        self.assertIsNone(limits.arrived(A))
        limits.configure(with_limits(max_connects_per_second=1, max_sessions=5))
        self.assertIsNotNone(limits.arrived(A))
        limits.configure(with_limits(max_connects_per_second=2))
        self.assertEqual([limits.arrived(A) for _ in range(2)], [None, None])
        self.assertIsNotNone(limits.arrived(A))
