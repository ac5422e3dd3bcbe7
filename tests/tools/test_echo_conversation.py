"""What the echo server says when, on a clock of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.echo_conversation import Conversation
from xzgw.tools.narration import silent
from xzgw.tools.server_mcp import ServerMcp
from xzgw.tools.steps import StepError
from xzgw.wire import messages
from xzgw.wire.audio import server_audio


class Recorder:
    """A line that remembers what went over it, with the clock's milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.texts: list[Any] = []
        self.audio: list[int] = []
        self.hung_up = False

    def send_text(self, text: bytes) -> None:
        self.texts.append(messages.parse(text))

    def send_audio(self, message: bytes) -> None:
        self.audio.append(round(1000 * self.clock.seconds()))

    def hang_up(self, reason: str) -> None:
        self.hung_up = True


class ConversationTests(SynchronousTestCase):
    """Turns in time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.line = Recorder(self.clock)
        self.conversation = Conversation(self.clock, self.line, silent)

    def tearDown(self) -> None:
        self.conversation.close("the test is over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def say(self, **message: Any) -> None:
        self.conversation.on_text(messages.encode(message))

    def speak(self, count: int) -> None:
        for number in range(count):
            self.conversation.on_audio(server_audio(number, 60 * number, b"opus"))

    def turn(self, count: int) -> None:
        self.say(type="hello")
        self.say(type="listen", state="start")
        self.speak(count)
        self.say(type="listen", state="stop")

    def test_pace(self) -> None:
        """Five packets at once, the others 60 ms apart, then tts stop."""
        self.turn(8)
        self.clock.pump([0.06] * 2)
        self.assertEqual(self.line.texts[-1]["state"], "sentence_start")
        self.clock.pump([0.06] * 2)
        self.assertEqual(self.line.audio, [0] * 5 + [60, 120, 180])
        self.assertEqual(self.line.texts[-1]["state"], "stop")

    def test_next_turn_cuts_in(self) -> None:
        """A new listen start ends the speaking without another word."""
        self.turn(8)
        said = len(self.line.texts)
        self.say(type="listen", state="start")
        self.clock.pump([0.06] * 5)
        self.assertEqual((len(self.line.audio), len(self.line.texts)), (5, said))

    def test_stop_without_start(self) -> None:
        """listen stop answers a turn once, and none that never began."""
        self.say(type="hello")
        self.say(type="listen", state="stop")
        self.assertEqual(len(self.line.texts), 1)
        self.say(type="listen", state="detect", text="hi")
        self.assertEqual(len(self.line.texts), 1)

    def test_longest_turn(self) -> None:
        """A turn that never ends is answered after a minute of audio."""
        self.say(type="hello")
        self.say(type="listen", state="start")
        self.speak(1001)
        self.assertEqual(len(self.conversation.turn), 1000)
        self.assertEqual(self.line.texts[-1]["state"], "sentence_start")

    def test_first_message(self) -> None:
        """Before hello, audio and messages hang up."""
        self.speak(1)
        self.assertTrue(self.line.hung_up)
        self.line.hung_up = False
        self.say(type="listen", state="start")
        self.assertTrue(self.line.hung_up)


class ServerMcpTests(SynchronousTestCase):
    """The server's MCP client in time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Any] = []
        self.mcp = ServerMcp(self.clock, self.sent.append, {"url": "u", "token": "t"})

    def tearDown(self) -> None:
        self.mcp.close("the test is over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def asked(self) -> list[tuple[int, str]]:
        return [(request["id"], request["method"]) for request in self.sent]

    def test_list_after_a_second(self) -> None:
        """tools/list follows initialize after a second, answered or not."""
        self.mcp.start()
        self.clock.advance(0.999)
        self.assertEqual(self.asked(), [(1, "initialize")])
        self.clock.advance(0.001)
        self.assertEqual(self.asked(), [(1, "initialize"), (2, "tools/list")])

    def test_listed(self) -> None:
        """The list is complete with the page that names no further one, or is empty."""
        last: Any
        for last in ({"tools": []}, {"tools": [], "nextCursor": "b"}, {"nextCursor": "b"}):
            self.mcp.start()
            self.clock.advance(1)
            listed = self.mcp.listed()
            self.mcp.reply({"id": 2, "result": {"tools": [{"name": "a"}], "nextCursor": "b"}})
            self.assertNoResult(listed)
            self.mcp.reply({"id": 2, "result": last})
            self.assertEqual(self.successResultOf(listed), [{"name": "a"}])

    def test_other_replies(self) -> None:
        """Replies to nothing, odd ones and odd results are ignored."""
        self.mcp.start()
        for payload in (None, {}, {"id": "1", "result": {}}, {"id": True}, {"id": 9}):
            self.mcp.reply(payload)
        self.assertIsNone(self.mcp.device_info)
        self.mcp.reply({"id": 1, "result": 5})
        self.assertIsNone(self.mcp.device_info)

    def test_calls(self) -> None:
        """Calls count from 1; each gets its own reply, or fails when the device is gone."""
        first, second = self.mcp.call("a", {}), self.mcp.call("b", {})
        self.assertEqual(self.asked(), [(1, "tools/call"), (2, "tools/call")])
        self.mcp.reply({"id": 2, "result": 2})
        self.assertEqual(self.successResultOf(second), {"id": 2, "result": 2})
        self.mcp.close("gone")
        self.assertEqual(
            str(self.failureResultOf(first, StepError).value), "server's tools/call of a: gone"
        )
