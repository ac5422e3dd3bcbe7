"""A device under observation: what is told of it, when, and where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.logger import capturedLogs

from tests.core.phones import (
    SPEECH,
    Phone,
    PhonesTestCase,
    Switchboard,
    connect_of,
    goodbye,
    signed,
)
from tests.fakes import CONFIG, URL, warnings
from xzgw.core.findings import Cause
from xzgw.core.lines import MOST_LINES, WINDOW, Lines
from xzgw.core.rounds import LOOK_AFTER
from xzgw.wire import messages
from xzgw.wire.audio import server_audio

NO_UDP = "hello answered 4 s ago, no UDP from this device"


class CheckupTests(PhonesTestCase):
    """The first device of the vectors, and the rounds of its gateway."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0)

    def rounds(self, seconds: float = LOOK_AFTER) -> None:
        """Time passes, and then those are looked at who are due."""
        self.board.pass_time(seconds)
        self.board.around.services.rounds.look()

    def told(self) -> list[str]:
        """The causes of all events so far."""
        return [data["cause"] for data in self.board.events("diagnosis")]

    def diagnosis(self, phone: Phone | None = None) -> dict[str, Any]:
        """What the API shows."""
        return (phone or self.ann).device.checkup.diagnosis().as_json()

    def states(self) -> dict[str, str]:
        """Each item of the checklist."""
        return {check["name"]: check["state"] for check in self.diagnosis()["checks"]}

    def fail_hello(self, reason: str = "refused") -> None:
        """The device says hello, and its server fails."""
        self.ann.says({"type": "hello", "version": 3})
        self.board.around.dialer.dials[-1].lose(reason)

    def test_well(self) -> None:
        """Nothing is told of a device that idles, or talks."""
        with capturedLogs() as logs:
            self.rounds()
            self.ann.hello("s-1")
            self.ann.speaks(SPEECH[0])
            self.rounds()
            self.rounds()
        self.assertEqual((self.told(), warnings(logs)), ([], []))
        self.assertEqual(self.diagnosis()["sentence"], "all is well")

    def test_told_once(self) -> None:
        """In the log and as an event, once in a session however often it is looked at."""
        with capturedLogs() as logs:
            for session in ("s-1", "s-2"):
                self.ann.hello(session)
                for _ in range(3):
                    self.rounds()
        self.assertEqual(self.told(), ["no_udp", "no_udp"])
        counted = self.board.around.services.tally.current().diagnosed
        self.assertEqual({cause: n for cause, n in counted.items() if n}, {"no_udp": 2})
        event = self.board.events("diagnosis")[0]
        self.assertEqual(event["client_id"], self.ann.client_id)
        self.assertIn(NO_UDP, event["sentence"])
        self.assertEqual(warnings(logs)[0], f"{self.ann.client_id}: {event['sentence']} (no_udp)")
        self.assertEqual(len(warnings(logs)), 2)

    def test_goes_away(self) -> None:
        """The API shows how things are now."""
        self.ann.hello("s-1")
        self.rounds()
        self.assertEqual(self.diagnosis()["cause"], "no_udp")
        self.assertEqual(self.states()["uplink"], "failed")
        self.ann.speaks(SPEECH[0])
        self.assertIsNone(self.diagnosis()["cause"])
        self.assertEqual(self.states()["uplink"], "ok")

    def test_found_at_the_end(self) -> None:
        """A session too short for a round is looked at when it ends, and remembered."""
        self.ann.hello("s-1")
        self.board.pass_time(4.5)
        self.ann.says(goodbye("s-1"))
        self.assertEqual(self.told(), ["no_udp"])
        self.board.pass_time(3.0)
        told = self.diagnosis()
        self.assertEqual(told["cause"], "no_udp")
        self.assertTrue(told["sentence"].startswith("in the session that ended 3 s ago: hello"))
        self.ann.hello("s-2")
        self.assertIsNone(self.diagnosis()["cause"])

    def test_no_server(self) -> None:
        """At once; not again for the next hello, which fails in the same way."""
        self.fail_hello()
        told = self.diagnosis()
        self.assertEqual(told["cause"], "server_unreachable")
        self.assertIn(URL, told["sentence"])
        self.board.pass_time(2.0)
        self.fail_hello()
        self.assertEqual(self.told(), ["server_unreachable"])
        self.assertEqual(self.states()["server"], "failed")

    def test_bad_token(self) -> None:
        """The xiaozhi-server says so in words that are no JSON, and closes."""
        self.ann.says({"type": "hello", "version": 3})
        server = self.board.around.dialer.dials[-1]
        server.open()
        self.assertEqual(
            (self.states()["server"], self.states()["server_hello"]), ("ok", "waiting")
        )
        server.says("认证失败".encode())
        server.lose("server closed with 1000")
        self.assertEqual(self.told(), ["server_refused"])
        self.assertIn("none is set here", self.diagnosis()["sentence"])

    def test_when_the_hello_came(self) -> None:
        """Not when its server was given up."""
        self.ann.says({"type": "hello", "version": 3})
        self.board.pass_time(3.0)
        self.board.around.dialer.dials[-1].lose("refused")
        self.assertIn("for the hello 3 s ago", self.diagnosis()["sentence"])

    def test_bad_hello(self) -> None:
        """A hello that no gateway can serve."""
        self.ann.says({"type": "hello", "version": 1})
        self.assertEqual(self.told(), ["bad_hello"])

    def test_no_room(self) -> None:
        """A hello that this gateway has no room for, in place of an open session."""
        self.board.gateway.drain()
        self.ann.says({"type": "hello", "version": 3})
        self.assertEqual(self.told(), ["no_room"])

    def test_wrong_topic(self) -> None:
        """A device that publishes where nobody listens."""
        self.ann.device.misplaced("t" * 1000, b"{}")
        self.assertEqual(self.told(), [])
        self.rounds()
        self.assertEqual(self.told(), ["wrong_topic"])
        self.assertLess(len(self.diagnosis()["sentence"]), 400)

    def test_other_topic_besides(self) -> None:
        """A device that is heard on the right topic may use others."""
        mcp = self.ann.device.mcp
        mcp.answered = True
        self.ann.device.misplaced("status", b"{}")
        self.rounds()
        self.assertEqual(self.told(), [])

    def test_no_messages(self) -> None:
        """A device that sends anything but JSON."""
        self.ann.device.received(b"?")
        self.rounds()
        self.assertEqual(self.told(), ["bad_messages"])

    def test_udp_timeout(self) -> None:
        """The device's own word ends the session, and is what is wrong with it."""
        self.ann.says({"type": "udp_timeout"})
        self.assertEqual(self.told(), [])
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        self.ann.server.plays(server_audio(0, 60, SPEECH[0]))
        self.ann.says({"type": "udp_timeout"})
        self.assertEqual(self.told(), ["udp_timeout"])

    def test_unanswered_ping(self) -> None:
        """Silence after a ping, of a device that has answered earlier ones."""
        mcp = self.ann.device.mcp
        mcp.pinged_at = self.board.clock.seconds()
        self.board.pass_time(6.0)
        self.assertIsNone(self.diagnosis()["cause"])
        mcp.answers_ping = True
        self.assertEqual(self.diagnosis()["cause"], "mqtt_gone")
        self.ann.device.seen_at = self.board.clock.seconds()
        self.assertIsNone(self.diagnosis()["cause"])

    def test_heard_after_a_ping(self) -> None:
        """Audio is a sign of life, too."""
        mcp = self.ann.device.mcp
        mcp.answers_ping = True
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        self.board.pass_time(1.0)
        mcp.pinged_at = self.board.clock.seconds()
        self.board.pass_time(5.0)
        self.assertEqual(self.diagnosis()["cause"], "mqtt_gone")
        self.ann.speaks(SPEECH[1])
        self.assertIsNone(self.diagnosis()["cause"])

    def test_strays(self) -> None:
        """Only those since the session's opening count."""
        strays = self.board.around.services.strays
        for _ in range(9):
            strays.note("192.0.2.50")
        self.ann.hello("s-1")
        self.rounds()
        self.assertEqual(self.diagnosis()["cause"], "no_udp")
        for _ in range(5):
            strays.note("192.0.2.50")
        self.assertEqual(self.diagnosis()["cause"], "udp_unknown")

    def test_later(self) -> None:
        """While something is awaited the looks go on, though nothing happens."""
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        self.ann.says({"type": "listen", "state": "detect", "session_id": "s-1"})
        self.rounds()
        self.assertEqual(self.told(), [])
        self.rounds()
        self.assertEqual(self.told(), ["server_no_reaction"])

    def test_silent_after_an_answer(self) -> None:
        """A device that listens again and is not heard is told of, though a look came before."""
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        for state in ("start", "stop"):
            self.ann.server.says(messages.encode({"type": "tts", "state": state}))
        self.board.pass_time(0.2)
        self.ann.says({"type": "listen", "state": "start", "session_id": "s-1"})
        self.rounds(LOOK_AFTER - 0.2)
        self.rounds()
        self.assertEqual(self.told(), ["device_silent"])

    def test_audio_without_start(self) -> None:
        """Audio that begins long after the latest message is seen all the same."""
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        self.ann.server.says(messages.encode({"type": "stt", "text": "hello"}))
        self.board.pass_time(3.9)
        for n in range(40):
            if n == 3:
                self.rounds()
            self.ann.server.plays(server_audio(n, 60, SPEECH[0]))
        self.rounds()
        self.assertEqual(self.told(), ["no_tts_start"])

    def test_gone(self) -> None:
        """A device that has left is not looked at any more."""
        self.ann.hello("s-1")
        self.board.gateway.leave(self.ann.device, "lost")
        self.rounds()
        self.assertEqual(self.told(), [])

    def test_call(self) -> None:
        """In a call nothing is expected of a server."""
        self.ann.hello("s-1")
        self.ann.speaks(SPEECH[0])
        self.ann.says({"type": "listen", "state": "detect", "session_id": "s-1"})
        bob = self.phone(1)
        self.board.gateway.calls.request(self.ann.mac, bob.mac, "")
        self.board.pass_time(9.0)
        self.assertIsNone(self.diagnosis()["cause"])
        self.assertEqual(self.states()["server"], "none")


class ManyTests(PhonesTestCase):
    """A fault that many devices have."""

    def test_lines(self) -> None:
        """So many lines in the log, then one about the rest; events have all of them."""
        for n in range(MOST_LINES + 5):
            phone = Phone(self.board, signed(f"g@@@02_00_00_00_00_{n:02x}@@@{n}"))
            with capturedLogs() as logs:
                phone.says({"type": "hello", "version": 1})
            line = f"{phone.client_id}: the hello 0 s ago was refused"
            if n < MOST_LINES:
                self.assertIn(line, warnings(logs)[0])
            elif n == MOST_LINES:
                self.assertEqual(len(warnings(logs)), 1)
                self.assertIn(f"bad_hello: more than {MOST_LINES} devices", warnings(logs)[0])
            else:
                self.assertEqual(warnings(logs), [])
        self.assertEqual(len(self.board.events("diagnosis")), MOST_LINES + 5)

    def test_other_causes(self) -> None:
        """Each cause has its own lines, and has them again a minute later."""
        lines = Lines(self.board.clock.seconds)
        told = [lines.take(Cause.NO_UDP) for _ in range(MOST_LINES + 1)]
        self.assertEqual(told, [True] * MOST_LINES + [False])
        self.assertTrue(lines.take(Cause.WRONG_ADDRESS))
        self.board.pass_time(WINDOW - 1.0)
        self.assertFalse(lines.take(Cause.NO_UDP))
        self.board.pass_time(1.0)
        self.assertTrue(lines.take(Cause.NO_UDP))


class AlertTests(PhonesTestCase):
    """With diagnosis_alert the device shows what is wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.board = Switchboard(replace(CONFIG, diagnosis_alert=True))
        self.ann = Phone(self.board, connect_of(0))

    def test_alert(self) -> None:
        """All members that firmware needs are texts."""
        self.ann.hello("s-1")
        self.ann.link.take()
        self.board.pass_time(LOOK_AFTER)
        self.board.around.services.rounds.look()
        [alert] = self.ann.texts()
        self.assertEqual(
            (alert["type"], alert["status"], alert["emotion"]), ("alert", "xzgw", "sad")
        )
        self.assertIn(NO_UDP, alert["message"])

    def test_not_at_the_end(self) -> None:
        """What is found when a session ends comes too late for its user."""
        self.ann.hello("s-1")
        self.ann.link.take()
        self.board.pass_time(LOOK_AFTER)
        self.ann.says(goodbye("s-1"))
        self.assertEqual(len(self.board.events("diagnosis")), 1)
        self.assertEqual(self.ann.texts(), [])
