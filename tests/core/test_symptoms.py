"""What is seen of a session: the messages of both sides, and the counts of audio."""

from __future__ import annotations

from typing import Any

from tests.core.phones import SPEECH, PhonesTestCase
from xzgw.core.findings import Talk
from xzgw.core.symptoms import Symptoms
from xzgw.wire import messages
from xzgw.wire.audio import server_audio


class SymptomsTests(PhonesTestCase):
    """A session of the vectors' first device, that has been heard."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0, "s-1")
        voice = self.ann.device.voice
        assert voice is not None and isinstance(voice.observer, Symptoms)
        self.symptoms = voice.observer

    def says(self, **message: Any) -> None:
        """The device says something."""
        self.ann.says({"session_id": "s-1", **message})

    def answers(self, kind: str, state: str = "", **members: Any) -> None:
        """The server says something."""
        self.ann.server.says(messages.encode({"type": kind, "state": state, **members}))

    def plays(self) -> None:
        """The server sends a packet of audio."""
        self.ann.server.plays(server_audio(1, 60, SPEECH[2]))

    def talk(self) -> Talk:
        """All that was seen, a second after the latest."""
        self.board.pass_time(1.0)
        return self.symptoms.talk("ws://a", "192.0.2.1", False, 0)

    def test_open(self) -> None:
        """Where the device was told to send audio, and that it did."""
        talk = self.talk()
        self.assertEqual((talk.age, talk.told), (1.0, ("203.0.113.7", 8884)))
        self.assertEqual((talk.received, talk.forwarded, talk.refused), (1, 1, {}))
        self.assertFalse(self.symptoms.pending)

    def test_refused(self) -> None:
        """Datagrams that are not believed, by reason."""
        self.ann.speaks(b"\xff" * 40)
        talk = self.talk()
        self.assertEqual((talk.received, talk.refused), (2, {"implausible": 1}))

    def test_listening(self) -> None:
        """From listen start to its stop, or to the server's answer; with the audio since."""
        self.says(type="listen", state="start")
        self.assertTrue(self.symptoms.pending)
        self.assertEqual((self.talk().listening, self.talk().listened), (1.0, 0))
        self.ann.speaks(SPEECH[1])
        self.assertEqual(self.talk().listened, 1)
        self.ann.speaks(b"\xff" * 40)
        self.assertEqual((self.talk().arrived, self.talk().listened), (2, 1))
        self.answers("tts", "start")
        self.assertIsNone(self.talk().listening)
        self.says(type="listen", state="start")
        self.says(type="listen", state="stop")
        self.assertIsNone(self.talk().listening)

    def test_asked(self) -> None:
        """The end of speech asks for a reaction, if there was any, and so does a wake word."""
        self.says(type="listen", state="start")
        self.says(type="listen", state="stop")
        self.assertIsNone(self.talk().asked)
        self.says(type="listen", state="start")
        self.ann.speaks(SPEECH[1])
        self.says(type="listen", state="stop")
        self.assertEqual(self.talk().asked, 1.0)
        self.assertTrue(self.symptoms.pending)
        self.answers("stt", text="hello")
        self.assertIsNone(self.talk().asked)
        self.says(type="listen", state="detect", text="wake up")
        self.assertEqual(self.talk().asked, 1.0)
        self.says(type="abort")
        self.assertIsNone(self.talk().asked)

    def test_stop_twice(self) -> None:
        """Who does not listen cannot stop."""
        self.says(type="listen", state="stop")
        self.assertIsNone(self.talk().asked)

    def test_understood(self) -> None:
        """From recognised text to the answer."""
        self.answers("stt", text="hello")
        self.assertEqual((self.talk().understood, self.talk().spoken), (1.0, 0))
        self.assertTrue(self.symptoms.pending)
        self.plays()
        self.assertEqual(self.talk().spoken, 1)
        self.assertTrue(self.symptoms.pending)  # without tts start nobody hears it
        self.answers("tts", "start")
        self.plays()
        self.assertIsNone(self.talk().understood)
        self.assertFalse(self.symptoms.pending)

    def test_answer(self) -> None:
        """From tts start to stop; with audio nothing is wrong."""
        self.answers("tts", "start")
        self.assertTrue(self.symptoms.pending)
        self.answers("tts", "sentence_start", text="Hello")
        self.plays()
        talk = self.talk()
        self.assertEqual((talk.speaking, talk.spoken, talk.played), (1.0, 1, True))
        self.answers("tts", "stop")
        talk = self.talk()
        self.assertEqual((talk.speaking, talk.mute_turns, talk.reactions), (None, 0, 3))

    def test_mute(self) -> None:
        """Subtitles without audio count until an answer has some; no words need no audio."""
        for text, plays, mute in (("a", 0, 1), ("b", 0, 2), ("", 0, 2), ("c", 1, 0)):
            self.answers("tts", "start")
            if text:
                self.answers("tts", "sentence_start", text=text)
            for _ in range(plays):
                self.plays()
            self.answers("tts", "stop")
            self.assertEqual(self.talk().mute_turns, mute, text)

    def test_aborted(self) -> None:
        """An answer that the device stopped is not mute."""
        self.answers("tts", "start")
        self.answers("tts", "sentence_start", text="Hello")
        self.says(type="abort")
        self.answers("tts", "stop")
        self.assertEqual((self.talk().speaking, self.talk().mute_turns), (None, 0))

    def test_interrupted(self) -> None:
        """An answer that was heard is not mute, though its last words come after the next stt."""
        self.answers("tts", "start")
        self.answers("tts", "sentence_start", text="Hello")
        self.plays()
        self.answers("stt", text="stop that")
        self.answers("tts", "sentence_start", text="how are you")
        self.answers("tts", "stop")
        self.assertEqual((self.talk().mute_turns, self.talk().understood), (0, None))

    def test_nothing_to_say(self) -> None:
        """A server that understood and says at once that it is done is waited for no more."""
        self.answers("stt", text="hello")
        self.answers("tts", "stop")
        self.assertIsNone(self.talk().understood)
        self.assertFalse(self.symptoms.pending)

    def test_deaf_again(self) -> None:
        """Whenever the device begins to listen, its audio is waited for."""
        self.says(type="listen", state="start")
        self.ann.speaks(SPEECH[1])
        self.answers("tts", "start")
        self.plays()
        self.answers("tts", "stop")
        self.assertFalse(self.symptoms.pending)
        self.says(type="listen", state="start")
        self.assertTrue(self.symptoms.pending)
        self.ann.speaks(SPEECH[2])
        self.assertFalse(self.symptoms.pending)

    def test_waiting(self) -> None:
        """Audio that waits for the device's first datagram, and what was dropped of it."""
        bob = self.phone(1)
        bob.hello("s-2")
        assert bob.device.voice is not None
        symptoms = bob.device.voice.observer
        assert isinstance(symptoms, Symptoms)
        for _ in range(20):  # there is room for one second
            bob.server.plays(server_audio(1, 60, SPEECH[2]))
        talk = symptoms.talk("ws://a", "192.0.2.1", False, 3)
        self.assertEqual((talk.audio, talk.waiting, talk.sent, talk.strays), (20, 20, 0, 3))
        self.assertTrue(symptoms.pending)
