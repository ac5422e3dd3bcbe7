"""What is told of a session: while it is open, at its end, and in the sums over all."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from twisted.logger import capturedLogs, formatEvent, globalLogPublisher

from tests.core.phones import SPEECH, Phone, PhonesTestCase, goodbye
from tests.core.test_tally import filled
from xzgw.core.device_view import view
from xzgw.core.door import DeviceView
from xzgw.core.totals import Totals
from xzgw.logs import JsonLines
from xzgw.wire.audio import server_audio
from xzgw.wire.messages import Json

FRAME = 0.06


class VoiceSessionTests(PhonesTestCase):
    """The first device of the vectors."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0)

    def view(self) -> DeviceView:
        return view(self.ann.device, self.board.around.services)

    def totals(self) -> Totals:
        return self.board.around.services.tally.current()

    def assert_quality(self, score: float, why: str, quality: Json | None) -> None:
        assert quality is not None
        self.assertEqual((quality["score"], quality["why"]), (score, why))

    def plays(self, phone: Phone, packets: int = 1) -> None:
        """The server sends audio, a packet each 60 ms."""
        for _ in range(packets):
            phone.server.plays(server_audio(1, 60, SPEECH[2]))
            self.board.pass_time(FRAME)

    def server_says(self, **message: str) -> None:
        self.ann.server.says(json.dumps(message).encode())

    def times(self) -> dict[str, Any]:
        times = self.view().times
        assert times is not None
        return times

    def asks(self) -> None:
        """Hello to answer: reply after 0.25 s, audio 0.5 s later, a question answered in 0.75 s."""
        self.ann.hello("s-1", after=0.25)
        self.ann.says({"type": "listen", "state": "start"})
        self.board.pass_time(0.5)
        self.ann.speaks(SPEECH[0])
        self.ann.says({"type": "listen", "state": "stop"})
        self.board.pass_time(0.25)
        self.server_says(type="stt", text="?")
        self.board.pass_time(0.5)
        self.server_says(type="tts", state="start")
        self.plays(self.ann)

    def test_times(self) -> None:
        """From hello to reply and to the first audio, from the question's end to the answer."""
        self.assertIsNone(self.view().times)
        self.ann.hello("s-0")
        self.assertEqual(
            self.times(),
            {
                "hello_to_reply_ms": 0.0,
                "hello_to_first_uplink_ms": None,
                "stop_to_first_audio_ms": None,
                "stop_to_first_audio_worst_ms": None,
                "turns": 0,
            },
        )
        self.asks()
        expected = {
            "hello_to_reply_ms": 250.0,
            "hello_to_first_uplink_ms": 750.0,
            "stop_to_first_audio_ms": 750.0,
            "stop_to_first_audio_worst_ms": 750.0,
            "turns": 1,
        }
        self.assertEqual(self.times(), expected)
        self.ann.says({"type": "listen", "state": "start"})
        self.server_says(type="stt", text="?")
        self.plays(self.ann)
        expected.update(stop_to_first_audio_ms=0.0, turns=2)
        self.assertEqual(self.times(), expected)

    def test_quality(self) -> None:
        """None without a session or without audio; then a score, and what is behind it."""
        self.assertIsNone(self.view().quality)
        self.ann.hello("s-1")
        self.assertIsNone(self.view().quality)
        self.ann.speaks(SPEECH[0])
        self.assert_quality(4.4, "nothing disturbs it", self.view().quality)
        for _ in range(90):
            self.board.pass_time(2 * FRAME)
            self.ann.speaks(SPEECH[0], skip=1)
        why = "49.7% of the audio from the device is missing"
        self.assert_quality(1.1, why, self.view().quality)

    def test_unsent(self) -> None:
        """What the server is too slow for is as good as lost, also when it is gone at the end."""
        self.ann.hello("s-1")
        for _ in range(50):
            self.ann.speaks(SPEECH[0])
        self.ann.server.audio_dropped = 25
        why = "50.0% of the audio from the device is missing"
        self.assert_quality(1.1, why, self.view().quality)
        self.assertEqual(self.totals().unsent, 25)
        self.ann.server.lose("closed")
        [end] = self.board.events("session_end")
        self.assert_quality(1.1, why, end["quality"])
        self.assertEqual(end["server"]["audio_unsent"], 25)
        self.assertEqual(self.totals().unsent, 25)

    def test_end(self) -> None:
        """The event tells what the API told last, and what it told before."""
        self.asks()
        self.ann.speaks(SPEECH[0], skip=3)
        told = self.view()
        self.ann.says(goodbye("s-1"))
        [end] = self.board.events("session_end")
        self.assertEqual(end["udp"], told.udp)
        self.assertEqual(end["times"], told.times)
        self.assertEqual(end["quality"], told.quality)
        self.assertEqual(end["reason"], "device said goodbye")
        self.assertEqual(end["audio"]["lost"], 3)

    def test_log(self) -> None:
        """One line for those who read, with all of it for machines; never a key."""
        output = BytesIO()
        observer = JsonLines(output)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.asks()
        key = self.ann.voice.key.hex()
        self.ann.says(goodbye("s-1"))
        lines = [json.loads(line) for line in output.getvalue().splitlines()]
        [line] = [line for line in lines if line.get("kind") == "session_end"]
        [end] = self.board.events("session_end")
        self.assertEqual(
            [line[m] for m in end if m in ("udp", "times", "quality")],
            [end["udp"], end["times"], end["quality"]],
        )
        self.assertTrue(line["message"].startswith("session end: GID_test@@@"))
        self.assertTrue(line["message"].endswith(" down=1 dropped=0 quality=4.4"))
        self.assertNotIn(key, output.getvalue().decode())

    def test_json_line(self) -> None:
        """A log of text has the event as a line of JSON; a log of JSON has it once."""
        output = BytesIO()
        observer = JsonLines(output)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        with capturedLogs() as logs:
            self.asks()
            self.ann.says(goodbye("s-1"))
        line = formatEvent(logs[-1])
        start, _, text = line.partition(" ")
        self.assertEqual((start, "\n" in line), ("session_end", False))
        events = self.board.around.services.events
        self.assertEqual(json.loads(text), events.describe(events.since(0)[-1]))
        self.assertEqual(json.loads(text)["kind"], "session_end")
        self.assertEqual(output.getvalue().count(b"session_end"), 1)

    def test_silent_session(self) -> None:
        """A session without audio ends without a score."""
        self.ann.hello("s-1")
        self.ann.says(goodbye("s-1"))
        [end] = self.board.events("session_end")
        self.assertIsNone(end["quality"])
        self.assertEqual(self.totals().quality.total, 0)

    def test_totals(self) -> None:
        """All sessions, by how they ended; nothing is counted twice or forgotten."""
        self.asks()
        now = self.totals()
        self.assertEqual((now.started, now.open, now.audio.forwarded), (1, 1, 1))
        self.assertEqual((filled(now.setup), filled(now.answer)), ([0.25], []))
        self.ann.says(goodbye("s-1"))
        self.assertEqual(filled(self.totals().answer), [1.0])
        for end in (
            lambda: self.ann.says({"type": "udp_timeout"}),
            lambda: self.ann.server.lose("device said goodbye"),
            lambda: self.board.door.end_session(self.ann.client_id),
            lambda: self.ann.hello("s-2"),
            lambda: self.board.gateway.leave(self.ann.device, "lost"),
        ):
            if self.ann.device.voice is None:
                self.ann.hello("s-1")
            end()
        now = self.totals()
        self.assertEqual((now.started, now.open, now.audio.sent_packets), (6, 0, 1))
        endings = ("goodbye", "udp_timeout", "server", "gateway", "new_hello", "disconnected")
        self.assertEqual(now.ended, {**dict.fromkeys(endings, 1), "call": 0})

    def test_call(self) -> None:
        """Between two devices: both ways as with a server, but nobody asks or answers."""
        self.ann.hello("s-1", after=0.25)
        self.ann.speaks(SPEECH[0])
        self.ann.says({"type": "listen", "state": "stop"})
        bob = self.phone(1, "s-2")
        calls = self.board.gateway.calls
        calls.request(self.ann.mac, bob.mac, "")
        self.ann.speaks(SPEECH[0])  # answered with silence
        calls.request(bob.mac, self.ann.mac, "")
        self.ann.says({"type": "listen", "state": "stop"})
        for phone in (self.ann, bob, bob, self.ann):
            self.board.pass_time(FRAME)
            phone.speaks(SPEECH[1], skip=1 if phone is bob else 0)
        udp, times = self.view().udp, self.times()
        assert udp is not None
        self.assertEqual((udp["up"]["packets"], udp["down"]["packets"]), (4, 3))
        self.assertEqual((times["turns"], times["stop_to_first_audio_ms"]), (1, None))
        self.ann.says(goodbye("s-1"))
        end = self.board.events("session_end")[0]
        self.assertEqual((end["udp"], end["times"]["hello_to_reply_ms"]), (udp, 250.0))
        self.assertEqual(self.board.events("session_end")[1]["udp"]["up"]["lost"], 2)
        self.assertEqual(self.totals().ended["call"], 1)
