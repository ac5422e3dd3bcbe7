"""Calls between two devices: request, wake-up, waiting, bridge, end."""

from __future__ import annotations

import base64

from twisted.logger import capturedLogs, formatEvent

from tests.core.phones import (
    HELLO,
    SPEECH,
    WAYS,
    Phone,
    PhonesTestCase,
    connect_of,
    goodbye,
    signed,
)
from tests.fakes import warnings
from xzgw.core.calls import ANSWER_TIME
from xzgw.core.events import Event
from xzgw.core.session_types import Live
from xzgw.wire import messages
from xzgw.wire.audio import AudioError, Cipher
from xzgw.wire.opus import packet_duration_us

# 60 ms of silence at 16 kHz, mono, made by libopus; see the README of the vectors.
SILENCE = bytes.fromhex("5801f25e7236921f05fa478d692c8f200afbfb2b20")
BY_OPERATOR = ("ended by the operator", "disconnected by the operator")


class CallsTestCase(PhonesTestCase):
    """Three devices in a session each: Ann, Bob and Cid."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0, "s-ann")
        self.bob = self.phone(1, "s-bob")
        self.cid = self.phone(2, "s-cid")

    def request(self, caller: Phone | str, target: Phone | str, nickname: str = "小明") -> str:
        """Status of a request, and in case of an error its reason."""
        macs = [who if isinstance(who, str) else who.mac for who in (caller, target)]
        result = self.board.gateway.calls.request(macs[0], macs[1], nickname)
        return f"error: {result.message}" if result.status == "error" else result.status

    def accept(self, callee: Phone | str) -> str:
        mac = callee if isinstance(callee, str) else callee.mac
        result = self.board.gateway.calls.accept(mac)
        return f"error: {result.message}" if result.status == "error" else result.status

    def ring(self, caller: Phone, target: Phone) -> None:
        """One calls another, which has woken up and not answered yet."""
        self.assertEqual(self.request(caller, target), "pending")
        target.wakes_up()

    def bridge(self, caller: Phone, callee: Phone) -> None:
        """Two are in a call; what led to it is read."""
        self.ring(caller, callee)
        self.assertEqual(self.accept(callee), "bridged")
        for phone in (caller, callee):
            phone.texts()
            phone.datagrams()

    def states(self) -> list[str]:
        """What was told of calls so far."""
        return [data["state"] for data in self.board.events("call")]

    def assertUnanswered(self, reason: str) -> None:
        """Ann has heard, just now and just as after 60 s, that Bob does not answer."""
        self.assertEqual(self.ann.texts(), [goodbye("s-ann")])
        self.assertEqual(self.ann.device.presence, "idle")
        self.assertEqual(self.accept(self.bob), "no_pending")
        self.assertEqual(self.states(), ["requested", "unanswered"])
        self.assertEqual(self.board.events("call")[-1]["reason"], reason)

    def assertNoTimers(self) -> None:
        self.assertEqual(self.board.clock.getDelayedCalls(), [])


class RequestTests(CallsTestCase):
    """Who may call whom."""

    def test_pending(self) -> None:
        """The caller's server is hung up; it gets no goodbye and is in a call from now on."""
        self.assertEqual(self.request(self.ann, self.bob), "pending")
        self.assertEqual(self.ann.server.closed, [(1000, "device is in a call")])
        self.assertEqual(self.ann.texts(), [])
        self.assertEqual(self.ann.device.presence, "in_call")
        self.assertEqual(self.bob.server.closed, [])
        self.assertEqual(self.bob.device.presence, "live")

    def test_offline(self) -> None:
        """A target that is not connected; the caller's session stays as it is."""
        self.board.gateway.leave(self.bob.device, "lost")
        for target in (self.bob, "66:55:44:33:22:11", "", "nonsense"):
            self.assertEqual(self.request(self.ann, target), "offline")
        self.assertEqual(self.ann.device.presence, "live")
        self.assertEqual(self.states(), [])

    def test_unknown_caller(self) -> None:
        """A caller that is not connected is an error, and nobody is woken."""
        status = self.request("66:55:44:33:22:11", self.bob)
        self.assertEqual(status, "error: the calling device is not connected")
        self.assertEqual(self.bob.texts(), [])

    def test_nobody_there(self) -> None:
        """Neither of them connected: the target is offline, which the console understands."""
        self.assertEqual(self.request("66:55:44:33:22:11", "66:55:44:33:22:12"), "offline")

    def test_caller_without_session(self) -> None:
        """Without an audio channel there is nothing to bridge; nobody is woken."""
        self.ann.says(goodbye("s-ann"))
        reason = "error: the calling device has no open session"
        self.assertEqual(self.request(self.ann, self.bob), reason)
        self.ann.says({"type": "hello", "version": 3})  # being dialled for is not yet a session
        self.assertEqual(self.request(self.ann, self.bob), reason)
        self.assertEqual(self.bob.texts(), [])

    def test_itself(self) -> None:
        """A device that calls itself is busy, and stays in its session."""
        self.assertEqual(self.request(self.ann, self.ann), "error: busy")
        self.assertEqual(self.ann.device.presence, "live")

    def test_again(self) -> None:
        """Calling again while waiting stays pending, and wakes nobody a second time."""
        self.ring(self.ann, self.bob)
        self.assertEqual(self.request(self.ann, self.bob), "pending")
        self.assertEqual(self.bob.texts(), [])
        self.assertEqual(self.states(), ["requested"])
        self.board.pass_time(ANSWER_TIME)  # nor is there more time
        self.assertEqual(self.states(), ["requested", "unanswered"])

    def test_macs_in_any_case(self) -> None:
        """MACs of bodies and of client ids compare without regard to case."""
        self.assertEqual(self.cid.mac, "AA:BB:CC:00:0F:FF")
        self.assertEqual(self.request(self.cid.mac.lower(), self.ann.mac.upper()), "pending")
        self.ann.wakes_up()
        self.assertEqual(self.accept("A0:85:e3:F4:49:34"), "bridged")
        self.ann.says(goodbye("s-ann"))
        self.ann.hello("s-ann-2")
        self.cid.hello("s-cid-2")
        self.cid.texts()
        self.assertEqual(self.request(self.ann.mac.upper(), self.cid.mac.lower()), "pending")
        self.cid.wakes_up()
        self.assertEqual(self.accept("aa:Bb:cC:00:0f:Ff"), "bridged")

    def test_spellings_of_macs(self) -> None:
        """With colons, hyphens or underscores."""
        self.assertEqual(
            self.request(self.ann.mac.replace(":", "-"), "11-22-33-44-55-66"), "pending"
        )
        self.bob.wakes_up()
        self.assertEqual(self.accept("11_22_33_44_55_66"), "bridged")

    def test_second_connection_of_the_same_mac(self) -> None:
        """Of two devices with one MAC, the one in a session is meant."""
        idle = Phone(self.board, signed("other@@@66_55_44_33_22_11@@@1"))
        live = Phone(self.board, signed("other@@@66_55_44_33_22_11@@@2"))
        live.hello("s-live")
        self.ring(self.ann, live)
        self.assertEqual(idle.texts(), [])
        self.assertEqual(self.accept(live), "bridged")

    def test_session_without_audio(self) -> None:
        """Cannot be; if it is, it is our own fault and does not pass in silence."""
        self.ann.says(goodbye("s-ann"))
        self.ann.device.session.state = Live(9, "s-odd")
        self.assertRaises(AssertionError, self.request, self.ann, self.bob)


class BusyTests(CallsTestCase):
    """A third device comes too late."""

    def assertBusy(self, caller: Phone, target: Phone) -> None:
        """It is told so, and neither it nor anybody else is disturbed."""
        before = self.states(), [phone.device.presence for phone in (self.ann, self.bob, self.cid)]
        self.assertEqual(self.request(caller, target), "error: busy")
        after = self.states(), [phone.device.presence for phone in (self.ann, self.bob, self.cid)]
        self.assertEqual(after, before)
        for phone in (self.ann, self.bob, self.cid):
            self.assertEqual(phone.texts(), [])

    def test_while_waiting(self) -> None:
        """Who calls and who is called are both busy, and the called one calls nobody else."""
        self.ring(self.ann, self.bob)
        self.assertBusy(self.cid, self.ann)
        self.assertBusy(self.cid, self.bob)
        self.assertBusy(self.ann, self.cid)
        self.assertBusy(self.bob, self.cid)

    def test_in_a_call(self) -> None:
        """Both ends of a call are busy, as callers, too, even for each other."""
        self.bridge(self.ann, self.bob)
        for phone in (self.ann, self.bob):
            self.assertBusy(self.cid, phone)
            self.assertBusy(phone, self.cid)
        self.assertBusy(self.ann, self.bob)
        self.assertBusy(self.bob, self.ann)

    def test_afterwards(self) -> None:
        """Once the call is over, nobody is busy any more."""
        self.bridge(self.ann, self.bob)
        self.ann.says(goodbye("s-ann"))
        self.assertEqual(self.request(self.cid, self.ann), "pending")


class WakeUpTests(CallsTestCase):
    """How the target learns of the call."""

    def test_request(self) -> None:
        """The very tool call that firmware knows."""
        self.request(self.ann, self.bob, "小明")
        request = self.bob.wakes_up()
        self.assertGreaterEqual(request["payload"].pop("id"), 0x40000000)
        arguments = {
            "reason": "[device_call]您收到来自小明的来电，是否接听？",
            "action": "listen",
        }
        self.assertEqual(
            request,
            {
                "type": "mcp",
                "payload": {
                    "jsonrpc": "2.0",
                    "method": "tools/call",
                    "params": {"name": "self.remote_wakeup", "arguments": arguments},
                },
            },
        )

    def test_text(self) -> None:
        """Chinese goes out as UTF-8, not as escapes."""
        self.request(self.ann, self.bob, "小明")
        [text] = self.bob.link.take()
        self.assertIn("[device_call]您收到来自小明的来电，是否接听？".encode(), text)

    def test_no_nickname(self) -> None:
        """Without a nickname the caller is announced by its MAC."""
        self.request(self.ann, self.bob, "")
        [request] = self.bob.texts()
        self.assertEqual(
            request["payload"]["params"]["arguments"]["reason"],
            "[device_call]您收到来自a0:85:e3:f4:49:34的来电，是否接听？",
        )

    def test_without_session(self) -> None:
        """A target that sleeps is woken all the same; that is what it is for."""
        self.bob.says(goodbye("s-bob"))
        self.assertEqual(self.request(self.ann, self.bob), "pending")
        self.bob.wakes_up()
        self.bob.hello("s-bob-2")
        self.assertEqual(self.accept(self.bob), "bridged")

    def test_reply_is_ours(self) -> None:
        """The target's server does not hear of the wake-up."""
        before = list(self.bob.server.texts)
        self.ring(self.ann, self.bob)
        self.assertEqual(self.bob.server.texts, before)

    def test_refused(self) -> None:
        """Firmware without the tool: logged, and the caller hears at once, for nobody is asked."""
        self.request(self.ann, self.bob)
        with capturedLogs() as logs:
            [request] = self.bob.texts()
            self.bob.replies(request, error={"message": "Unknown tool: self.remote_wakeup"})
        client_id = self.bob.client_id
        expected = f"call: {client_id} was not woken up: Unknown tool: self.remote_wakeup"
        self.assertEqual(warnings(logs), [expected])
        self.assertUnanswered("the called device refused to be woken up")

    def test_refused_at_length(self) -> None:
        """What a device says goes into the log in part only."""
        self.request(self.ann, self.bob)
        with capturedLogs() as logs:
            [request] = self.bob.texts()
            self.bob.replies(request, error={"message": "x" * 10_000})
        [line] = warnings(logs)
        self.assertTrue(line.endswith(" woken up: " + "x" * 200), line)

    def test_declined(self) -> None:
        """A tool that fails in MCP's own way is the same."""
        self.request(self.ann, self.bob)
        [request] = self.bob.texts()
        self.bob.replies(request, result={"content": [], "isError": True})
        self.assertUnanswered("the called device refused to be woken up")

    def test_other_results(self) -> None:
        """Whatever else the tool returns, the device is awake."""
        for result in (False, None, "error", {"isError": False}, {"isError": 1}, [True]):
            self.setUp()
            self.request(self.ann, self.bob)
            [request] = self.bob.texts()
            self.bob.replies(request, result=result)
            self.assertEqual(self.ann.texts(), [], result)
            self.assertEqual(self.accept(self.bob), "bridged", result)
            self.tearDown()

    def test_late_error(self) -> None:
        """A wake-up that fails after the call was answered, or is over, changes nothing."""
        self.request(self.ann, self.bob)
        [request] = self.bob.texts()
        self.assertEqual(self.accept(self.bob), "bridged")
        self.bob.replies(request, error={"message": "no"})
        self.assertEqual(self.ann.device.presence, "in_call")
        self.ann.says(goodbye("s-ann"))
        self.bob.hello("s-bob-2")
        self.ann.hello("s-ann-2")
        self.request(self.ann, self.bob)
        request = self.bob.texts()[-1]
        self.ann.says(goodbye("s-ann-2"))
        self.bob.replies(request, error={"message": "no"})
        self.assertEqual(self.accept(self.bob), "caller_gone")

    def test_no_answer(self) -> None:
        """A target that says nothing: logged once, the call goes on waiting."""
        self.request(self.ann, self.bob)
        with capturedLogs() as logs:
            self.board.pass_time(10.0)
        [line] = warnings(logs)
        self.assertTrue(line.endswith("device did not answer tools/call within 10 s"), line)
        self.assertEqual(self.ann.device.presence, "in_call")

    def test_lost(self) -> None:
        """A target that goes before it has answered: the caller hears at once, and no call waits
        for the target when it comes back.
        """
        self.request(self.ann, self.bob)
        with capturedLogs() as logs:
            self.board.gateway.leave(self.bob.device, "lost")
        [line] = warnings(logs)
        self.assertIn("was not woken up: device is gone", line)
        self.assertUnanswered("device disconnected")
        back = self.phone(1, "s-bob-2")
        self.assertEqual(self.accept(back), "no_pending")


class WaitingTests(CallsTestCase):
    """What the caller hears until it is answered."""

    def setUp(self) -> None:
        super().setUp()
        self.ring(self.ann, self.bob)
        self.ann.datagrams()

    def test_silence(self) -> None:
        """One packet of silence for each of its own, with that one's timestamp."""
        self.assertEqual((packet_duration_us(SILENCE), SILENCE[0] & 0x07), (60_000, 0))
        for number, opus in enumerate(SPEECH):
            self.ann.speaks(opus, timestamp=1000 + 60 * number)
            self.assertEqual(self.ann.hears(), [(number + 1, 1000 + 60 * number, SILENCE)])

    def test_only_then(self) -> None:
        """Nothing comes by itself, and what is refused is not answered."""
        self.board.pass_time(5.0)
        self.ann.speaks(b"\xff" * 40)
        self.assertEqual(self.ann.hears(), [])

    def test_nobody_listens(self) -> None:
        """The caller's packets go neither to its server nor to the one that is called."""
        self.bob.datagrams()
        before = [list(phone.server.audio) for phone in (self.ann, self.bob)]
        self.ann.speaks(SPEECH[1])
        self.assertEqual([phone.server.audio for phone in (self.ann, self.bob)], before)
        self.assertEqual(self.bob.datagrams(), [])

    def test_no_server(self) -> None:
        """What the old server still says or plays, and its end, do not reach the caller."""
        self.ann.server.says(b'{"type":"tts","state":"start"}')
        self.ann.server.plays(bytes.fromhex("01000001000000000000000000000001") + b"\x58")
        self.ann.server.lose("closed")
        self.assertEqual((self.ann.texts(), self.ann.hears()), ([], []))
        self.assertEqual(self.ann.device.presence, "in_call")

    def test_messages_of_the_caller(self) -> None:
        """What it says meanwhile goes nowhere and is not answered: its channel is open."""
        before = list(self.ann.server.texts)
        self.ann.says({"session_id": "s-ann", "type": "listen", "state": "detect"})
        self.assertEqual(self.ann.texts(), [])
        self.assertEqual(self.ann.server.texts, before)

    def test_unanswered(self) -> None:
        """After 60 s the caller gets a goodbye with its own session id, and it is over."""
        self.board.pass_time(ANSWER_TIME - 0.1)
        self.assertEqual(self.ann.texts(), [])
        self.board.pass_time(0.1)
        self.assertEqual(self.ann.texts(), [goodbye("s-ann")])
        self.assertEqual(self.ann.device.presence, "idle")
        self.assertEqual(self.bob.texts(), [])
        self.assertEqual(self.accept(self.bob), "no_pending")
        self.assertEqual(self.states(), ["requested", "unanswered"])
        self.assertNoTimers()

    def test_after_it_was_unanswered(self) -> None:
        """The caller is free again, to call and to be called."""
        self.board.pass_time(ANSWER_TIME)
        self.ann.texts()
        self.ann.hello("s-ann-2")
        self.ring(self.cid, self.ann)
        self.cid.says(goodbye("s-cid"))
        self.ring(self.ann, self.bob)

    def test_sixty_seconds(self) -> None:
        """The time of the contract."""
        self.assertEqual(ANSWER_TIME, 60.0)


class AcceptTests(CallsTestCase):
    """Who takes a call."""

    def test_no_pending(self) -> None:
        """Nobody calls this device, or there is none with this MAC."""
        self.assertEqual(self.accept(self.bob), "no_pending")
        self.assertEqual(self.accept("66:55:44:33:22:11"), "no_pending")
        self.ring(self.ann, self.bob)
        self.assertEqual(self.accept(self.ann), "no_pending")

    def test_bridged(self) -> None:
        """The caller is told with the other's MAC; the callee's server is hung up in silence."""
        self.ring(self.cid, self.ann)
        self.assertEqual(self.accept(self.ann), "bridged")
        self.assertEqual(self.cid.texts(), [{"type": "call_accepted", "from": self.ann.mac}])
        self.assertEqual(self.ann.texts(), [])
        self.assertEqual(self.ann.server.closed, [(1000, "device is in a call")])
        self.assertEqual(self.ann.device.presence, "in_call")
        self.assertEqual(self.states(), ["requested", "bridged"])
        self.assertNoTimers()

    def test_mac_as_sent(self) -> None:
        """The MAC in call_accepted is spelt as the callee itself spells it."""
        self.ring(self.ann, self.cid)
        self.accept(self.cid.mac.lower())
        [accepted] = self.ann.texts()
        self.assertEqual(accepted["from"], "AA:BB:CC:00:0F:FF")

    def test_twice(self) -> None:
        """A call that is bridged is no more to be taken."""
        self.bridge(self.ann, self.bob)
        self.assertEqual(self.accept(self.bob), "no_pending")
        self.assertEqual(self.bob.device.presence, "in_call")

    def test_callee_without_session(self) -> None:
        """Too early: it may try again once its session is open."""
        self.bob.says(goodbye("s-bob"))
        self.ring(self.ann, self.bob)
        self.assertEqual(self.accept(self.bob), "error: this device has no open session")
        self.assertEqual(self.ann.texts(), [])
        self.bob.hello("s-bob-2")
        self.assertEqual(self.accept(self.bob), "bridged")

    def test_mutual(self) -> None:
        """A device that calls the one that is calling it is bridged with it at once."""
        self.ring(self.ann, self.bob)
        self.assertEqual(self.request(self.bob, self.ann), "bridged")
        self.assertEqual(self.ann.texts(), [{"type": "call_accepted", "from": self.bob.mac}])
        self.assertEqual(self.bob.texts(), [])
        self.assertNoTimers()
        self.ann.datagrams()
        self.bob.speaks(SPEECH[1])
        self.assertEqual([opus for _, _, opus in self.ann.hears()], [SPEECH[1]])

    def test_mutual_without_session(self) -> None:
        """Nor does it help to call back before one's own session is open."""
        self.bob.says(goodbye("s-bob"))
        self.ring(self.ann, self.bob)
        reason = "error: this device has no open session"
        self.assertEqual(self.request(self.bob, self.ann), reason)
        self.assertEqual(self.ann.device.presence, "in_call")


class BridgeTests(CallsTestCase):
    """Audio of a call, both ways."""

    def test_speech(self) -> None:
        """All packets arrive, in order, with their timestamps, under the hearer's own key."""
        self.bridge(self.ann, self.bob)
        backwards = SPEECH[::-1]
        for number, opus in enumerate(SPEECH):
            self.ann.speaks(opus, timestamp=60 * number)
            self.bob.speaks(backwards[number], timestamp=7 + 60 * number)
        self.assertEqual(
            self.bob.hears(),
            [(number + 1, 60 * number, opus) for number, opus in enumerate(SPEECH)],
        )
        self.assertEqual(
            self.ann.hears(),
            [(number + 1, 7 + 60 * number, opus) for number, opus in enumerate(backwards)],
        )

    def test_sequences_go_on(self) -> None:
        """They are the hearer's channel's own: after its server's audio, and without holes."""
        for _ in range(3):
            self.bob.server.plays(bytes.fromhex("01000001000000000000000000000001") + b"\x58")
        self.ring(self.ann, self.bob)
        for _ in range(2):
            self.ann.speaks(SPEECH[1])  # answered with silence
        self.accept(self.bob)
        self.assertEqual([heard[0] for heard in self.ann.hears()], [1, 2])
        self.ann.speaks(SPEECH[2], skip=5)
        self.ann.speaks(SPEECH[3], skip=900)
        self.bob.speaks(SPEECH[4])
        self.assertEqual([heard[0] for heard in self.bob.hears()], [1, 2, 3, 4, 5])
        self.assertEqual([heard[0] for heard in self.ann.hears()], [3])

    def test_keys(self) -> None:
        """What one hears was never encrypted with the other's key."""
        self.bridge(self.ann, self.bob)
        self.ann.speaks(SPEECH[1])
        self.bob.speaks(SPEECH[2])
        for hearer, speaker, opus in (
            (self.bob, self.ann, SPEECH[1]),
            (self.ann, self.bob, SPEECH[2]),
        ):
            [datagram] = hearer.datagrams()
            self.assertRaises(AudioError, speaker.voice.cipher.open, datagram)
            foreign = Cipher(speaker.voice.key, hearer.voice.ssrc).open(datagram)[2]
            self.assertNotEqual(foreign, opus)
            self.assertEqual(hearer.voice.cipher.open(datagram)[2], opus)

    def test_forgeries(self) -> None:
        """What is refused in a session is refused in a call."""
        self.bridge(self.ann, self.bob)
        self.ann.speaks(b"\xff" * 40)
        self.ann.speaks(b"")
        self.ann.source = ("203.0.113.99", 1)
        self.ann.speaks(SPEECH[1])
        self.assertEqual(self.bob.hears(), [])

    def test_servers_hear_nothing(self) -> None:
        """Nobody but the other one gets the audio."""
        self.bridge(self.ann, self.bob)
        self.cid.datagrams()
        phones = (self.ann, self.bob, self.cid)
        before = [list(phone.server.audio) for phone in phones]
        self.ann.speaks(SPEECH[1])
        self.bob.speaks(SPEECH[2])
        self.assertEqual([phone.server.audio for phone in phones], before)
        self.assertEqual(self.cid.datagrams(), [])

    def test_before_the_callee_is_heard(self) -> None:
        """Audio for a callee that has not sent a datagram yet waits for its first one."""
        self.bob.hello("s-bob-2")
        self.bridge(self.ann, self.bob)
        self.ann.speaks(SPEECH[1], timestamp=5)
        self.assertEqual(self.bob.datagrams(), [])
        self.bob.speaks(SPEECH[2])
        self.assertEqual(self.bob.hears(), [(1, 5, SPEECH[1])])

    def test_two_calls(self) -> None:
        """They do not hear each other."""
        dan = Phone(self.board, signed("x@@@66_55_44_33_22_11@@@1"), "192.0.2.77")
        dan.hello("s-dan")
        dan.speaks(SPEECH[0])
        self.bridge(self.ann, self.bob)
        self.bridge(self.cid, dan)
        for phone, opus in zip((self.ann, self.bob, self.cid, dan), SPEECH[1:], strict=False):
            phone.speaks(opus)
        heard = [[opus for _, _, opus in p.hears()] for p in (self.ann, self.bob, self.cid, dan)]
        self.assertEqual(heard, [[SPEECH[2]], [SPEECH[1]], [SPEECH[4]], [SPEECH[3]]])


class EndTests(CallsTestCase):
    """Every way to leave a call."""

    def test_bridged(self) -> None:
        """Whoever leaves, in whatever way: the other gets a goodbye with its own session id."""
        for name, leave in WAYS.items():
            for one, other in ((0, 1), (1, 0)):
                self.setUp()
                phones = (self.ann, self.bob)
                leaver, left = phones[one], phones[other]
                self.bridge(self.ann, self.bob)
                goodbyes = [goodbye(leaver.session_id)] if name in BY_OPERATOR else []
                leave(self.board, leaver)
                self.assertEqual(left.texts(), [goodbye(left.session_id)], name)
                self.assertEqual(leaver.texts(), goodbyes, name)
                self.assertEqual(left.device.presence, "idle", name)
                self.assertNotEqual(leaver.device.presence, "in_call", name)
                self.assertNotIn(left.voice.ssrc, self.board.around.services.channels, name)
                self.assertEqual(self.states(), ["requested", "bridged", "ended"], name)
                self.assertNoTimers()
                self.tearDown()

    def test_waiting(self) -> None:
        """A caller that leaves before it is answered: whoever accepts is told, once."""
        for name, leave in WAYS.items():
            self.setUp()
            self.ring(self.ann, self.bob)
            goodbyes = [goodbye("s-ann")] if name in BY_OPERATOR else []
            leave(self.board, self.ann)
            self.assertEqual(self.ann.texts(), goodbyes, name)
            self.assertEqual(self.states(), ["requested", "cancelled"], name)
            self.assertEqual(self.accept(self.bob), "caller_gone", name)
            self.assertNoTimers()
            self.assertEqual(self.accept(self.bob), "no_pending", name)
            self.assertEqual(self.bob.texts(), [], name)
            self.assertEqual(self.bob.device.presence, "live", name)
            self.tearDown()

    def test_callee_leaves_before_it_answers(self) -> None:
        """By being lost: the caller hears at once. Other ends of the session that it had before,
        and the hello of one that wakes up, are its own affair: the caller waits on.
        """
        for name, leave in WAYS.items():
            self.setUp()
            self.ring(self.ann, self.bob)
            leave(self.board, self.bob)
            if name in ("lost", "taken over"):
                self.assertUnanswered("device disconnected")
                self.assertNoTimers()
            else:
                self.assertEqual(self.ann.texts(), [], name)
                self.assertEqual(self.ann.device.presence, "in_call", name)
                self.assertEqual(self.states(), ["requested"], name)
            self.tearDown()

    def test_late_goodbye_of_the_callee(self) -> None:
        """A goodbye for the session before the present one declines nothing."""
        self.bob.hello("s-bob-2")
        self.ring(self.ann, self.bob)
        self.bob.says(goodbye("s-bob"))
        self.assertEqual(self.accept(self.bob), "bridged")

    def test_goodbye_while_the_callee_is_served(self) -> None:
        """A callee that wakes up and then thinks better of it declines."""
        self.bob.says(goodbye("s-bob"))
        self.ring(self.ann, self.bob)
        self.bob.says(HELLO)
        self.assertEqual(self.ann.texts(), [])
        self.bob.says({"type": "goodbye"})
        self.assertUnanswered("device said goodbye")

    def test_other_one_with_the_same_mac_leaves(self) -> None:
        """Only the one that was woken up answers for its MAC."""
        mac = "other@@@66_55_44_33_22_11@@@"
        other, live = Phone(self.board, signed(mac + "1")), Phone(self.board, signed(mac + "2"))
        live.hello("s-live")
        self.ring(self.ann, live)
        self.board.gateway.leave(other.device, "lost")
        self.assertEqual(self.ann.texts(), [])
        self.assertEqual(self.accept(live), "bridged")

    def test_drained_while_waiting(self) -> None:
        """A gateway that is drained lets a sleeping callee go; the caller need not wait."""
        self.bob.says(goodbye("s-bob"))
        self.ring(self.ann, self.bob)
        self.board.gateway.drain()
        self.assertUnanswered("device disconnected")

    def test_stop(self) -> None:
        """When the gateway stops, each one in a call gets one goodbye, with its own id."""
        self.bridge(self.ann, self.bob)
        self.board.gateway.stop("stopping")
        for phone in (self.ann, self.bob, self.cid):
            self.assertEqual(phone.texts(), [goodbye(phone.session_id)])
            self.assertEqual(phone.link.closed, ["stopping"])
        self.assertEqual(self.board.around.services.channels, {})
        self.assertNoTimers()

    def test_stop_while_waiting(self) -> None:
        """The waiting caller gets its goodbye, too."""
        self.ring(self.ann, self.bob)
        self.board.gateway.stop("stopping")
        for phone in (self.ann, self.bob):
            self.assertEqual(phone.texts(), [goodbye(phone.session_id)])

    def test_next_session(self) -> None:
        """Who leaves by a hello has a session with a server again, with a new key."""
        self.bridge(self.ann, self.bob)
        key = self.ann.voice.key
        self.ann.hello("s-ann-2")
        self.assertNotEqual(self.ann.voice.key, key)
        self.ann.speaks(SPEECH[1], timestamp=3)
        self.assertEqual(self.ann.server.audio, [(1, 3, SPEECH[1])])

    def test_audio_stops(self) -> None:
        """Nothing of a call reaches a session that comes after it."""
        self.bridge(self.ann, self.bob)
        channel = self.board.around.services.channels[self.ann.voice.ssrc]
        late = self.ann.voice.cipher.seal(2, 0, SPEECH[1])
        self.bob.hello("s-bob-2")
        self.bob.speaks(SPEECH[0])
        self.bob.datagrams()
        channel.receive(late, self.ann.source)
        self.assertEqual(self.bob.datagrams(), [])

    def test_late_goodbye(self) -> None:
        """A goodbye for the session before the present one ends no call."""
        self.ann.hello("s-ann-2")
        self.bridge(self.ann, self.bob)
        self.ann.says(goodbye("s-ann"))
        self.assertEqual(self.bob.texts(), [])
        self.assertEqual(self.ann.device.presence, "in_call")

    def test_both_at_once(self) -> None:
        """The other one's leaving while the first one's is being told: one goodbye all the same."""
        self.bridge(self.ann, self.bob)

        def end_the_other(event: Event) -> None:
            if event.data.get("state") == "ended":
                self.board.door.end_session(self.bob.client_id)

        self.board.around.events.subscribe(end_the_other)
        self.ann.says(goodbye("s-ann"))
        self.assertEqual(self.bob.texts(), [goodbye("s-bob")])
        self.assertEqual(self.states(), ["requested", "bridged", "ended"])
        self.assertNoTimers()

    def test_server_end(self) -> None:
        """The servers that were hung up are lost later; that ends nothing."""
        self.bridge(self.ann, self.bob)
        for phone in (self.ann, self.bob):
            phone.server.lose("closed with 1000")
            self.assertEqual(phone.texts(), [])
            self.assertEqual(phone.device.presence, "in_call")

    def test_call_again(self) -> None:
        """After a call both may call anew, either way round."""
        self.bridge(self.ann, self.bob)
        self.bob.says(goodbye("s-bob"))
        self.ann.texts()
        self.ann.hello("s-ann-2")
        self.bob.hello("s-bob-2")
        self.bridge(self.bob, self.ann)
        self.bob.says({"type": "goodbye"})
        self.assertEqual(self.ann.texts(), [goodbye("s-ann-2")])


class TombstoneTests(CallsTestCase):
    """A caller that has hung up is remembered for whoever answers, but stands in nobody's way."""

    def setUp(self) -> None:
        super().setUp()
        self.ring(self.ann, self.bob)
        self.ann.says(goodbye("s-ann"))

    def test_forgotten(self) -> None:
        """Until the time of the call is up; nobody is told a second time."""
        self.board.pass_time(ANSWER_TIME - 0.1)
        self.board.pass_time(0.1)
        self.assertEqual(self.accept(self.bob), "no_pending")
        self.assertEqual(self.ann.texts(), [])
        self.assertEqual(self.states(), ["requested", "cancelled"])
        self.assertNoTimers()

    def test_another_caller(self) -> None:
        """The next one that calls takes its place, and has all its time."""
        self.board.pass_time(50.0)
        self.ring(self.cid, self.bob)
        self.assertEqual(len(self.board.clock.getDelayedCalls()), 1)
        self.board.pass_time(50.0)
        self.assertEqual(self.cid.device.presence, "in_call")
        self.assertEqual(self.accept(self.bob), "bridged")
        self.assertNoTimers()

    def test_same_caller(self) -> None:
        """The caller that comes back calls anew."""
        self.ann.hello("s-ann-2")
        self.ring(self.ann, self.bob)
        self.assertEqual(self.accept(self.bob), "bridged")

    def test_calling_back(self) -> None:
        """The called one that calls back is not bridged to one that has hung up, but calls it."""
        self.ann.hello("s-ann-2")
        self.assertEqual(self.request(self.bob, self.ann), "pending")
        self.ann.wakes_up()
        self.assertEqual(self.accept(self.ann), "bridged")
        self.assertEqual(self.accept(self.bob), "caller_gone")
        self.assertEqual(self.bob.device.presence, "in_call")

    def test_reconnected_caller(self) -> None:
        """A caller that lost its connection and is back is not in the old call any more."""
        back = Phone(self.board, connect_of(0))
        back.hello("s-back")
        self.assertEqual(self.accept(self.bob), "caller_gone")
        self.assertEqual(back.device.presence, "live")


class TellingTests(CallsTestCase):
    """What others get to know of a call."""

    def test_events(self) -> None:
        """Each step once, with who calls whom, and why it ended."""
        self.bridge(self.ann, self.bob)
        self.ann.says(goodbye("s-ann"))
        who = {"caller": self.ann.client_id, "target_mac": "11:22:33:44:55:66"}
        self.assertEqual(
            self.board.events("call"),
            [
                {"state": "requested", **who, "reason": ""},
                {"state": "bridged", **who, "reason": ""},
                {"state": "ended", **who, "reason": "device said goodbye"},
            ],
        )

    def test_session_ends(self) -> None:
        """Each one's session lasts until its call is over, and tells how that came."""
        self.bridge(self.ann, self.bob)
        self.assertEqual(self.board.events("session_end"), [])
        self.ann.says(goodbye("s-ann"))
        told = [(data["session_id"], data["reason"]) for data in self.board.events("session_end")]
        self.assertEqual(
            told,
            [
                ("s-ann", "device said goodbye"),
                ("s-bob", "the other device has left the call"),
            ],
        )

    def test_no_key(self) -> None:
        """No key of one goes to the other, to a third, into an event or into the log."""
        with capturedLogs() as logs:
            self.ring(self.ann, self.bob)
            self.ann.speaks(SPEECH[1])
            self.accept(self.bob)
            self.ann.speaks(SPEECH[2])
            self.bob.speaks(SPEECH[3])
            self.ann.says(goodbye("s-ann"))
        events = messages.encode({"all": [e.data for e in self.board.around.events.since(0)]})
        said = "".join(formatEvent(event) + repr(event) for event in logs).encode()
        self.assertIn(b"bridged", events)
        self.assertIn(b"call bridged", said)
        sent = b"".join(datagram for datagram, _ in self.board.around.voice.sent)
        texts = b"".join(t for p in (self.ann, self.bob, self.cid) for t in p.link.take())
        self.assertIn(b"call_accepted", texts)
        for phone in (self.ann, self.bob):
            key = phone.voice.key
            shapes = (key, key.hex().encode(), base64.b64encode(key), repr(key)[2:-1].encode())
            for shape in shapes:
                for place in (events, said, sent, texts):
                    self.assertNotIn(shape, place)
