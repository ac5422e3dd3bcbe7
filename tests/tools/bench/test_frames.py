"""The packets that the bench sends, and how their arrival is counted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.bench.figures import Flow
from xzgw.tools.bench.frames import FRAME_MS, MAX_BYTES, MIN_BYTES, Ear, Frames, Window
from xzgw.wire.opus import packet_duration_us


class FramesTests(SynchronousTestCase):
    """Making and reading."""

    def test_plausible(self) -> None:
        """To a gateway each is Opus of the duration that was said, of the size asked for."""
        for frame_ms in FRAME_MS:
            for size in (MIN_BYTES, 180, MAX_BYTES):
                packet = Frames(frame_ms, size).make(2**40, 7)
                self.assertEqual(packet_duration_us(packet), 1000 * frame_ms)
                self.assertEqual(len(packet), size)

    def test_round_trip(self) -> None:
        """Time and number come back."""
        frames = Frames(60, 180)
        self.assertEqual(frames.read(frames.make(2**40 + 1, 9)), (2**40 + 1, 9))

    def test_damaged(self) -> None:
        """Any other byte in it, cut or longer: it is not what was sent."""
        frames = Frames(60, 40)
        packet = frames.make(1, 2)
        for at in (0, *range(MIN_BYTES, len(packet))):
            damaged = packet[:at] + bytes((packet[at] ^ 1,)) + packet[at + 1 :]
            self.assertIsNone(frames.read(damaged), at)
        self.assertIsNone(frames.read(packet[:-1]))
        self.assertIsNone(frames.read(packet + b"x"))
        self.assertIsNone(Frames(60, MIN_BYTES).read(b""))


class EarTests(SynchronousTestCase):
    """What counts as an arrival."""

    def setUp(self) -> None:
        self.frames = Frames(60, 180)
        self.window = Window()
        self.window.begin, self.window.end = 100, 200
        self.ear = Ear(self.frames, self.window, Flow())

    def take(self, stamp: int, number: int) -> int:
        self.ear.take(self.frames.make(stamp, number), stamp + 10)
        return self.ear.flow.arrived

    def test_window(self) -> None:
        """It is the time of sending that counts, its end not included."""
        arrived = [self.take(stamp, number) for number, stamp in enumerate((99, 100, 199, 200), 1)]
        self.assertEqual(arrived, [0, 1, 2, 2])
        self.assertEqual(self.ear.flow.latency.longest, 10)

    def test_once(self) -> None:
        """A repeated frame cannot make up for a lost one, nor can one that was overtaken."""
        self.assertEqual([self.take(150, number) for number in (1, 1, 3, 2, 4)], [1, 1, 2, 2, 3])

    def test_damaged(self) -> None:
        """A damaged frame is counted as such, and has not arrived."""
        self.ear.take(self.frames.make(150, 1)[:-1], 160)
        self.assertEqual((self.ear.flow.damaged, self.ear.flow.arrived), (1, 0))
