"""Guard rails as devices meet them: the message limit, and refused CONNECTs."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs

from tests.core.phones import PhonesTestCase, Switchboard, connect_of, goodbye, signed
from tests.fakes import CONFIG, warnings
from xzgw.core.gateway import NOT_AUTHORIZED, Refused
from xzgw.core.throttle import ALLOWED, DELAY
from xzgw.wire import messages
from xzgw.wire.packets import Connect

ADDRESS = "198.51.100.7"


class MessageLimitTests(PhonesTestCase):
    """Two messages a second, and five at once."""

    def setUp(self) -> None:
        super().setUp()
        self.board = Switchboard(replace(CONFIG, message_rate=2, message_burst=5))
        self.ann = self.phone(0, "s-ann")  # one message
        self.before = len(self.ann.server.texts)

    def say(self, count: int, first: int = 0) -> None:
        """Messages for the server, numbered."""
        for number in range(first, first + count):
            self.ann.says({"type": "listen", "number": number})

    def forwarded(self) -> list[int]:
        """The numbers of those that came through."""
        return [messages.parse(text)["number"] for text in self.ann.server.texts[self.before :]]

    def later(self, seconds: float) -> None:
        """As the connection does with each packet."""
        self.board.pass_time(seconds)
        self.ann.device.seen_at = self.board.clock.seconds()

    def test_dropped(self) -> None:
        """Over the limit messages are dropped and counted; the session and the others go on."""
        bob = self.phone(1, "s-bob")
        self.say(8)
        self.assertEqual(self.forwarded(), [0, 1, 2, 3])
        self.assertEqual(
            (self.ann.device.intake.messages, self.ann.device.intake.limit.refused), (9, 4)
        )
        self.assertEqual(self.ann.device.presence, "live")
        self.assertEqual(self.ann.link.closed, [])
        bob.says({"type": "listen", "number": 99})
        self.assertIn(b'"number":99', bob.server.texts[-1])

    def test_misplaced(self) -> None:
        """Messages on a topic that is not taken count as well."""
        for _ in range(4 + 5 + 1):
            self.ann.device.misplaced("other", b"{}")
        self.assertEqual(self.ann.link.closed, ["keeps sending more than 2 messages/s"])
        self.assertEqual(self.forwarded(), [])

    def test_later(self) -> None:
        """What comes in time passes again."""
        self.say(8)
        self.later(1.0)
        self.say(3, first=20)
        self.assertEqual(self.forwarded(), [0, 1, 2, 3, 20, 21])

    def test_goodbyes_are_messages(self) -> None:
        """No message is exempt, whatever its type."""
        self.say(4)
        self.ann.says(goodbye("s-ann"))
        self.assertEqual(self.ann.device.presence, "live")

    def test_keeps_on(self) -> None:
        """Who goes on without a pause is disconnected, with the reason for the log."""
        self.say(4 + 5)
        self.assertEqual(self.ann.link.closed, [])
        self.say(1)
        self.assertEqual(self.ann.link.closed, ["keeps sending more than 2 messages/s"])

    def test_log(self) -> None:
        """The first message dropped is told, and then once a minute."""
        with capturedLogs() as logs:
            self.say(9)
            line = f"{self.ann.client_id}: more than 2 messages/s (message_rate)"
            self.assertEqual(warnings(logs), [f"{line}: dropping the excess"])
            self.later(5.0)
            self.say(7)
            self.assertEqual(self.ann.device.intake.limit.refused, 5 + 2)
            self.assertEqual(len(warnings(logs)), 1)
            self.later(55.0)
            self.say(7)
            self.assertEqual(len(warnings(logs)), 2)

    def test_new_connection(self) -> None:
        """A device that connects again starts anew, at the rate that is configured then."""
        self.say(9)
        self.board.gateway.configure(replace(CONFIG, message_rate=2, message_burst=7))
        self.board.gateway.leave(self.ann.device, "lost")
        self.ann = self.phone(0, "s-2")
        self.before = len(self.ann.server.texts)
        self.say(9)
        self.assertEqual(self.forwarded(), [0, 1, 2, 3, 4, 5])


class RefusedTests(PhonesTestCase):
    """CONNECTs that are not let in."""

    def refuse(self, connect: Connect, ip: str = ADDRESS) -> float:
        """The seconds until the device is told."""
        gateway = self.board.gateway
        why = self.assertRaises(Refused, gateway.admit, connect, self.phone(1).link, ip, ip)
        return gateway.refused(connect, ip, why)

    def test_wrong_passwords(self) -> None:
        """Ten are told at once, what follows from that address a second late."""
        wrong = replace(connect_of(0), password=b"wrong")
        delays = [self.refuse(wrong) for _ in range(ALLOWED + 2)]
        self.assertEqual(delays, [0.0] * ALLOWED + [DELAY] * 2)
        self.assertEqual(self.refuse(wrong, "198.51.100.8"), 0.0)
        self.assertEqual(self.board.gateway.wrong_answers.total, ALLOWED + 3)

    def test_other_spelling(self) -> None:
        """An address carried in IPv6 is the same one."""
        wrong = replace(connect_of(0), password=b"wrong")
        for _ in range(ALLOWED):
            self.refuse(wrong)
        self.assertEqual(self.refuse(wrong, "::ffff:" + ADDRESS), DELAY)

    def test_right_password(self) -> None:
        """A right one from the same address is let in all the same."""
        wrong = replace(connect_of(0), password=b"wrong")
        for _ in range(ALLOWED + 1):
            self.refuse(wrong, "192.0.2.50")
        self.phone(0, "s-ann")
        self.assertIn(connect_of(0).client_id, self.board.gateway.devices)

    def test_other_reasons(self) -> None:
        """What is no guess at a password is never late, and does not count."""
        unsigned = replace(connect_of(0), client_id="GID_test@@@a0_85_e3_f4_49_34")
        for _ in range(ALLOWED + 1):
            self.assertEqual(self.refuse(unsigned), 0.0)
            self.assertEqual(self.refuse(signed("nonsense")), 0.0)
        self.assertEqual(self.board.gateway.wrong_answers.total, 0)

    def test_event(self) -> None:
        """Who, from where and why; never the password or username, and no endless client id."""
        guess = "gue55-of-a-password"
        long = "x" * 1000
        self.refuse(replace(connect_of(0), password=guess.encode()), "::ffff:" + ADDRESS)
        self.refuse(replace(connect_of(0), client_id=long, username="s3cret"))
        first, second = self.board.events("refused")
        self.assertEqual(
            first,
            {
                "client_id": connect_of(0).client_id,
                "address": ADDRESS,
                "reason": "wrong password: is MQTT_SIGNATURE_KEY the OTA's key?",
            },
        )
        self.assertEqual(second["client_id"], long[:200])
        for secret in (guess, "s3cret", connect_of(0).username or ""):
            self.assertNotIn(secret, repr((first, second)))

    def test_flood(self) -> None:
        """Many refusals of one address do not push other events out of the history."""
        for _ in range(3 * ALLOWED):
            self.refuse(signed("nonsense"))
        self.refuse(signed("nonsense"), "198.51.100.8")
        told = [event["address"] for event in self.board.events("refused")]
        self.assertEqual(told, [ADDRESS] * ALLOWED + ["198.51.100.8"])
        self.assertEqual(self.board.gateway.refusals.total, 3 * ALLOWED + 1)

    def test_wrong_token(self) -> None:
        """Wrong tokens of the API are events, too, and late after the tenth."""
        delays = [self.board.gateway.wrong_token(ADDRESS) for _ in range(ALLOWED + 2)]
        self.assertEqual(delays, [0.0] * ALLOWED + [DELAY] * 2)
        told = self.board.events("refused")
        self.assertEqual(len(told), ALLOWED)
        self.assertEqual(told[0]["reason"], "wrong token for the admin API")

    def test_codes(self) -> None:
        """The reason of a refusal goes with its return code."""
        unsigned = replace(connect_of(0), client_id="GID_test@@@a0_85_e3_f4_49_34")
        admit = self.board.gateway.admit
        why = self.assertRaises(Refused, admit, unsigned, self.phone(1).link, ADDRESS, ADDRESS)
        self.assertEqual(why.return_code, NOT_AUTHORIZED)
