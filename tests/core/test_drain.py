"""Limits and draining, of a whole gateway without sockets."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import LogEvent, capturedLogs, formatEvent

from tests.core.test_gateway import HELLO, GatewayTestCase, connect, signed
from tests.fakes import CONFIG, FakeDeviceLink
from xzgw.core.device import Device
from xzgw.core.door import Presence, Remaining
from xzgw.core.drain import LOOK_EVERY
from xzgw.core.gateway import SERVER_UNAVAILABLE, AtLimit
from xzgw.core.limits import DRAINING
from xzgw.core.local_door import LocalDoor
from xzgw.settings.limits import LimitsConfig
from xzgw.wire import messages

LIMITS = LimitsConfig(
    max_connections=6, max_connections_per_address=4, max_sessions=2, drain_seconds=60, drain_rate=2
)


class LimitedTestCase(GatewayTestCase):
    """A gateway that soon has enough."""

    config = replace(CONFIG, limits=LIMITS)

    def tearDown(self) -> None:
        limits = self.around.services.limits
        self.gateway.stop("the end of the test")
        super().tearDown()
        self.assertEqual((limits.devices, limits.sessions), (0, 0))

    def many(self, count: int) -> list[tuple[Device, FakeDeviceLink]]:
        """Devices that are let in, each from its own address."""
        return [
            self.admit(signed(f"g@@@02_00_00_00_00_{n:02x}@@@u"), f"192.0.2.{n}")
            for n in range(count)
        ]

    def talk(self, device: Device, link: FakeDeviceLink, session_id: str) -> None:
        self.start(device, link, session_id)
        self.assertIs(device.presence, Presence.LIVE)

    def told(self, link: FakeDeviceLink) -> list[tuple[str, str]]:
        """The type and reason of what a device has got; MCP apart."""
        texts = [messages.parse(text) for text in link.take()]
        return [
            (str(text["type"]), str(text.get("message", text.get("session_id"))))
            for text in texts
            if text["type"] != "mcp"
        ]


class AdmissionTests(LimitedTestCase):
    """CONNECT at a limit."""

    def test_connections(self) -> None:
        """One more is refused with 3, and nobody is put out; taking over and leaving make room."""
        devices = self.many(6)
        self.assertEqual(self.refused(connect()), (3, "max_connections (6) is reached"))
        again, _ = self.admit(signed(devices[0][0].peer.client_id))
        self.assertEqual(len(self.gateway.devices), 6)
        self.gateway.leave(again, "gone")
        self.gateway.leave(again, "gone")
        self.admit(connect())

    def test_per_address(self) -> None:
        """Devices of one address leave others their room, in whatever form it comes."""
        for number in range(4):
            self.admit(signed(f"g@@@02_00_00_00_00_0{number}@@@u"), "::ffff:192.0.2.9")
        reason = "max_connections_per_address (4) is reached"
        error = self.assertRaises(AtLimit, self.admit, connect(), "192.0.2.9")
        self.assertEqual((error.return_code, str(error)), (SERVER_UNAVAILABLE, reason))
        self.admit(connect(), "192.0.2.8")

    def test_strangers_first(self) -> None:
        """Who has no good credentials learns nothing of limits."""
        self.many(6)
        self.assertEqual(self.refused(connect(password=b"guess"))[0], 4)

    def test_no_event(self) -> None:
        """Refusals by the thousand are no events, and are not held back."""
        self.many(6)
        error = self.assertRaises(AtLimit, self.admit, connect())
        self.assertEqual(self.gateway.refused(connect(), "192.0.2.9", error), 0.0)
        self.assertNotIn("refused", [event.kind for event in self.around.events.since(0)])

    def test_reload(self) -> None:
        """New limits come with a new configuration."""
        self.many(6)
        self.gateway.configure(CONFIG)
        self.admit(connect())


class SessionLimitTests(LimitedTestCase):
    """Hello at the limit."""

    def test_one_too_many(self) -> None:
        """It is told in an error; open sessions may be replaced; one that ends makes room."""
        (a, link_a), (b, _), (c, link_c) = self.many(3)
        self.talk(a, link_a, "s1")
        b.received(HELLO)  # being opened counts
        dials = len(self.around.dialer.dials)
        c.received(HELLO)
        self.assertEqual(self.told(link_c), [("error", "max_sessions (2) is reached")])
        self.assertIs(c.presence, Presence.IDLE)
        self.assertEqual(len(self.around.dialer.dials), dials)
        self.server.open()
        self.server.answers("s2")
        a.received(HELLO)
        self.server.open()
        self.server.answers("s3")
        self.assertEqual((a.presence, b.presence), (Presence.LIVE, Presence.LIVE))
        self.gateway.leave(b, "gone")
        self.talk(c, link_c, "s4")
        self.assertEqual(self.around.services.limits.sessions, 2)


class DrainTests(LimitedTestCase):
    """Emptying it."""

    def setUp(self) -> None:
        super().setUp()
        self.devices = self.many(5)
        self.clock = self.around.clock
        self.talk(*self.devices[0], "s1")
        for _, link in self.devices:
            link.take()

    def drain(self) -> list[LogEvent]:
        with capturedLogs() as log:
            self.gateway.drain()
        return list(log)

    def here(self) -> list[int]:
        """Which devices are left."""
        present = list(self.gateway.devices.values())
        return [n for n, (device, _) in enumerate(self.devices) if device in present]

    def test_not_ready(self) -> None:
        """From then on, with the reason."""
        self.assertEqual(self.gateway.troubles(), [])
        self.drain()
        self.assertEqual(self.gateway.troubles(), [DRAINING])

    def test_nobody_new(self) -> None:
        """CONNACK 3."""
        self.drain()
        self.assertEqual(self.refused(connect()), (3, DRAINING))

    def test_no_new_session(self) -> None:
        """Those that wait for their turn to go get an error for their hello."""
        self.drain()
        device, link = self.devices[4]
        self.assertEqual(self.here(), [0, 3, 4])
        device.received(HELLO)
        self.assertEqual(self.told(link), [("error", DRAINING)])

    def test_no_further_session(self) -> None:
        """Nor can an open session be replaced: the device has given it up, so it ends, without
        a goodbye, on which some clients would drop their connection.
        """
        self.drain()
        device, link = self.devices[0]
        device.received(HELLO)
        self.assertEqual(self.told(link), [("error", DRAINING)])
        self.assertIs(device.presence, Presence.IDLE)

    def test_hello_that_cannot_be_served(self) -> None:
        """A hello of no use at any time ends no session at this time either."""
        self.drain()
        device, link = self.devices[0]
        device.received(HELLO.replace(b"3", b"1"))
        [(kind, reason)] = self.told(link)
        self.assertEqual(kind, "error")
        self.assertIn("version", reason)
        self.assertIs(device.presence, Presence.LIVE)

    def test_being_opened(self) -> None:
        """A session that is being opened is one that finishes, even if the hello comes again."""
        device, link = self.devices[1]
        device.received(HELLO)
        self.drain()
        device.received(HELLO)
        self.server.open()
        self.server.answers("s2")
        self.assertIs(device.presence, Presence.LIVE)
        self.assertEqual([kind for kind, _ in self.told(link)], ["hello"])

    def test_let_go(self) -> None:
        """The idle go at the rate, those who talk when they have done; then that is logged."""
        lines = [formatEvent(event) for event in self.drain()]
        expected = "draining: 5 devices are to go, 1 sessions may last 60 s yet"
        self.assertEqual(lines[0], expected)
        self.assertEqual(self.here(), [0, 3, 4])
        self.assertEqual(self.devices[1][1].closed, [DRAINING])
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.here(), [0])
        self.clock.advance(LOOK_EVERY)
        device, link = self.devices[0]
        self.assertIs(device.presence, Presence.LIVE)
        self.server.lose("closed 1000")
        self.assertEqual(self.told(link), [("goodbye", "s1")])
        with capturedLogs() as log:
            self.clock.advance(LOOK_EVERY)
        self.assertEqual((self.here(), link.closed), ([], [DRAINING]))
        self.assertIn("drained: nobody is left", [formatEvent(event) for event in log])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_expected(self) -> None:
        """Who was at the door when it began is let in, counts as one to go, and is let go."""
        limits = self.around.services.limits
        self.server.lose("closed 1000")
        for ip in ("192.0.2.50", "192.0.2.51"):
            limits.arrived(ip)
            self.assertTrue(limits.expect(self.clock.seconds()))
        self.clock.advance(1)
        self.drain()
        self.clock.pump([LOOK_EVERY] * 3)
        self.assertEqual(self.here(), [])
        door = LocalDoor(self.gateway, "0", dict)
        self.assertEqual(self.successResultOf(door.drain()), Remaining(2, 0))
        link = FakeDeviceLink()
        limits.settled("192.0.2.50", True)
        self.gateway.admit(connect(), link, "192.0.2.50", "192.0.2.1", True)
        self.assertEqual(self.successResultOf(door.drain()), Remaining(2, 0))
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(link.closed, [DRAINING])
        limits.settled("192.0.2.51", True)
        with capturedLogs() as log:
            self.clock.advance(LOOK_EVERY)
        self.assertEqual([formatEvent(event) for event in log], ["drained: nobody is left"])
        self.assertEqual(self.successResultOf(door.drain()), Remaining(0, 0))

    def test_take_over(self) -> None:
        """A device may also come to replace its own connection, if it was at the door."""
        self.drain()
        device, link = self.devices[4]
        new = FakeDeviceLink()
        self.gateway.admit(signed(device.peer.client_id), new, "192.0.2.4", "192.0.2.1", True)
        self.assertEqual((len(link.closed), new.closed), (1, []))

    def test_came_late(self) -> None:
        """One whose PROXY header came when all others had gone is let go as well."""
        told: list[str] = []
        self.gateway.watch_drain(over=lambda: told.append("over"))
        self.server.lose("closed 1000")
        self.drain()
        self.clock.pump([LOOK_EVERY] * 3)
        self.assertEqual(told, ["over"])
        link = FakeDeviceLink()
        self.gateway.admit(connect(), link, "192.0.2.50", "192.0.2.1", True)
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(link.closed, [DRAINING])
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(told, ["over", "over"])

    def test_watched(self) -> None:
        """Whoever wants to know is told when it begins and when nobody is left."""
        told: list[str] = []
        limits = self.around.services.limits
        self.gateway.watch_drain(began=lambda: told.append(f"began {len(self.here())}"))
        self.gateway.watch_drain(over=lambda: told.append(f"over {limits.devices}"))
        self.drain()
        self.drain()
        self.assertEqual(told, ["began 5"])
        self.clock.pump([LOOK_EVERY] * (LIMITS.drain_seconds - 1))
        self.assertEqual(told, ["began 5"])
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(told, ["began 5", "over 0"])

    def test_time_is_up(self) -> None:
        """Sessions that last too long end with a goodbye."""
        self.drain()
        self.clock.pump([LOOK_EVERY] * (LIMITS.drain_seconds - 1))
        self.assertEqual(self.here(), [0])
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.told(self.devices[0][1]), [("goodbye", "s1")])
        self.assertEqual(self.here(), [])

    def test_again(self) -> None:
        """Draining twice is draining once."""
        self.drain()
        self.assertEqual(self.drain(), [])
        self.assertEqual(self.here(), [0, 3, 4])

    def test_empty(self) -> None:
        """With nobody there it is done at once."""
        self.use(self.config)
        lines = [formatEvent(event) for event in self.drain()]
        self.assertEqual(lines[-1], "drained: nobody is left")

    def test_stop(self) -> None:
        """The end of the process does not wait for it."""
        self.drain()
        self.gateway.stop("the gateway is stopping")
        self.assertTrue(all(link.closed for _, link in self.devices))
        for number in self.here():
            self.gateway.leave(self.devices[number][0], "lost")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_door(self) -> None:
        """Through the door: what is left, each time it is asked."""
        door = LocalDoor(self.gateway)
        self.assertEqual(self.successResultOf(door.drain()), Remaining(3, 1))
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.successResultOf(door.drain()), Remaining(1, 1))
