"""The pace of sending, and the loop over sockets."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.bench.figures import Flow, Tally
from xzgw.tools.bench.loop import READ, Loop, Pace
from xzgw.tools.bench.orders import Talk

MS = 1_000_000  # ns
TALK = Talk(True, True, start=0, begin=60 * MS, end=180 * MS, finish=300 * MS)


class PaceTests(SynchronousTestCase):
    """Three streams of 60 ms frames, the window being the second and third frame of each."""

    def setUp(self) -> None:
        self.now = 0
        self.sent: list[tuple[str, int]] = []  # stream, ms
        self.flow = Flow()
        self.tally = Tally()
        streams = [
            (lambda stamp, n=n: self.sent.append((n, stamp // MS)), self.flow) for n in "abc"
        ]
        self.pace = Pace(streams, TALK, 60, self.tally, lambda: self.now)

    def run_until(self, end: int) -> None:
        while self.now < end * MS:
            self.now += round(self.pace.wait() * 1e9)
            self.pace.run()

    def test_spacing(self) -> None:
        """Each stream speaks once a frame's duration, all evenly spaced, nobody late."""
        self.run_until(110)
        expected = [(name, at) for at, name in zip(range(0, 140, 20), "abcabca", strict=True)]
        self.assertEqual(self.sent, expected)
        self.assertEqual((self.tally.late.longest, self.tally.skipped), (0, 0))

    def test_window(self) -> None:
        """Only what is sent within the window counts."""
        self.run_until(300)
        self.assertEqual(self.flow.sent, 6)
        self.assertEqual(self.tally.late.number, 6)

    def test_late(self) -> None:
        """After a pause of less than a frame all is made up for, and the delay is counted."""
        self.run_until(20)
        self.now = 100 * MS
        self.pace.run()
        self.assertEqual([at for _, at in self.sent], [0, 20, *[100] * 4])  # due from 40 on
        self.assertEqual(self.tally.late.longest, 60 * MS)  # due at 40

    def test_skipped(self) -> None:
        """What is late by more than a frame is not sent, and counted where it was due."""
        self.now = 160 * MS
        self.pace.run()
        self.assertEqual([at for _, at in self.sent], [160] * 4)  # those due at 100 to 160
        self.assertEqual(self.tally.skipped, 2)  # at 60 and 80; those before are not counted

    def test_nobody(self) -> None:
        """Without streams there is nothing to do until the end."""
        pace = Pace([], TALK, 60, self.tally, lambda: self.now)
        pace.run()
        self.assertEqual(pace.wait(), 0.3)


class LoopTests(SynchronousTestCase):
    """Events of real descriptors."""

    def setUp(self) -> None:
        self.reads, self.writes = os.pipe()
        self.addCleanup(os.close, self.writes)
        self.addCleanup(os.close, self.reads)
        self.loop = Loop()
        self.got: list[bytes] = []

    def test_read(self) -> None:
        """Whoever watches is told; nobody any more who has forgotten."""
        self.loop.watch(self.reads, READ, lambda _: self.got.append(os.read(self.reads, 9)))
        self.loop.turn(0)
        os.write(self.writes, b"one")
        self.loop.turn(1)
        self.loop.forget(self.reads)
        self.loop.forget(self.reads)
        os.write(self.writes, b"two")
        self.loop.turn(0)
        self.assertEqual(self.got, [b"one"])

    def test_other_handler(self) -> None:
        """A descriptor may be watched anew."""
        self.loop.watch(self.reads, READ, lambda _: self.fail("the old one"))
        self.loop.watch(self.reads, READ, lambda _: self.got.append(os.read(self.reads, 9)))
        os.write(self.writes, b"one")
        self.loop.turn(-1)
        self.assertEqual(self.got, [b"one"])
