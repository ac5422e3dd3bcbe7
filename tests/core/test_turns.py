"""The time from the end of the user's speech to the first audio back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.jitter import Jitter
from xzgw.core.turns import Turns

FRAME = 0.06


class TurnsTests(SynchronousTestCase):
    """One session, on a clock of its own."""

    def setUp(self) -> None:
        self.now = 100.0
        self.up, self.down = Jitter(), Jitter()
        self.told: list[float] = []
        self.turns = Turns(lambda: self.now, self.up, self.down, self.told.append)

    def device(self, state: str, after: float = 0.0) -> None:
        """The device says `listen`."""
        self.now += after
        self.turns.device_said("listen", state)

    def server(self, kind: str, state: str | None = None, after: float = 0.0) -> None:
        self.now += after
        self.turns.server_said(kind, state)

    def audio(self, after: float = 0.0) -> None:
        """The server's."""
        self.now += after
        self.down.arrived(self.now, FRAME)

    def seen(self) -> tuple[int, float | None, float | None, float | None]:
        """Count, last, worst and mean."""
        turns = self.turns
        return turns.count, turns.last, turns.worst, turns.mean

    def test_nothing(self) -> None:
        """Without a turn nothing is told, whatever audio comes: a greeting has no question."""
        self.audio()
        self.server("tts", "start")
        self.audio(0.5)
        self.turns.finish()
        self.assertEqual(self.seen(), (0, None, None, None))
        self.assertEqual(self.told, [])

    def test_held_button(self) -> None:
        """From the device's listen stop on, though the server tells of it as well, later."""
        self.device("start")
        self.device("stop", 2.0)
        self.server("stt", after=0.5)
        self.assertEqual(self.seen(), (1, None, None, None))
        self.server("tts", "start", after=0.25)
        self.audio(0.25)
        self.audio(FRAME)
        self.assertEqual(self.seen(), (1, 1.0, 1.0, 1.0))
        self.assertEqual(self.told, [])  # before the turn is over
        self.device("start", 3.0)
        self.assertEqual(self.told, [1.0])
        self.assertEqual(self.seen(), (1, 1.0, 1.0, 1.0))

    def test_server_hears(self) -> None:
        """From the server's stt on, when the device does not know when its user stops."""
        self.device("start")
        self.server("stt", after=2.0)
        self.server("tts", "start", after=0.5)
        self.audio(0.25)
        self.assertEqual(self.seen(), (1, 0.75, 0.75, 0.75))

    def test_no_tts_start(self) -> None:
        """A server that only sends audio answers with the first of it."""
        self.server("stt")
        self.audio(0.5)
        self.audio(2.0)
        self.assertEqual(self.seen(), (1, 0.5, 0.5, 0.5))

    def test_rest_of_answer(self) -> None:
        """What is on its way of an earlier answer is not taken for this one's."""
        self.audio()
        self.device("stop")
        self.audio(FRAME)
        self.server("stt", after=0.5)
        self.server("tts", "start")
        self.audio(0.25)
        self.turns.finish()
        [seconds] = self.told
        self.assertAlmostEqual(seconds, FRAME + 0.5 + 0.25)
        self.assertEqual(self.turns.count, 1)

    def test_more_to_say(self) -> None:
        """A server that begins to speak a second time has answered already."""
        self.server("stt")
        self.server("tts", "start")
        self.audio(0.5)
        self.server("tts", "stop", after=1.0)
        self.server("tts", "start", after=2.0)
        self.audio(1.0)
        self.assertEqual(self.turns.last, 0.5)

    def test_several(self) -> None:
        """The latest, the worst and the mean, the turn that is not over yet included."""
        for n, seconds in enumerate((0.5, 2.0, 0.5), 1):
            self.server("stt", after=1.0)
            self.server("tts", "start")
            self.audio(seconds)
            self.assertEqual(self.turns.count, n)
        self.assertEqual(self.seen(), (3, 0.5, 2.0, 1.0))
        self.turns.finish()
        self.turns.finish()
        self.assertEqual(self.seen(), (3, 0.5, 2.0, 1.0))
        self.assertEqual(self.told, [0.5, 2.0, 0.5])

    def test_unanswered(self) -> None:
        """A turn without an answer counts, and does not make the next one's time longer."""
        self.server("stt")
        self.server("stt", after=30.0)
        self.server("tts", "start")
        self.audio(0.5)
        self.device("start", 1.0)
        self.device("stop", 1.0)
        self.device("start", 60.0)
        self.audio(1.0)
        self.turns.finish()
        self.assertEqual(self.seen(), (3, 0.5, 0.5, 0.5))
        self.assertEqual(self.told, [0.5])

    def test_other_messages(self) -> None:
        """Only these messages are signs of anything."""
        self.turns.device_said("abort", "stop")
        self.turns.device_said("listen", "detect")
        self.turns.device_said(None, None)
        self.server("tts", "sentence_start")
        self.server("llm")
        self.server("tts", "stop")
        self.audio()
        self.assertEqual(self.seen(), (0, None, None, None))

    def test_no_gap(self) -> None:
        """The quiet between two stretches of speech is no gap and no jitter, in either way."""
        for jitter, begin in (
            (self.up, lambda: self.device("start")),
            (self.down, lambda: self.server("tts", "start")),
        ):
            jitter.arrived(self.now, FRAME)
            self.now += 0.5
            begin()
            jitter.arrived(self.now, FRAME)
            self.assertEqual((jitter.gaps, jitter.seconds), (0, 0.0))
            self.now += 0.5
            jitter.arrived(self.now, FRAME)
            self.assertEqual(jitter.gaps, 1)
