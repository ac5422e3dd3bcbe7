"""What all sessions come to, ended and open."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.audio_stats import Stats
from xzgw.core.jitter import Jitter
from xzgw.core.quality import Quality
from xzgw.core.sayings import Saying
from xzgw.core.tally import Tally
from xzgw.core.totals import Ending, Histogram


@dataclass(eq=False)
class Audio:
    stats: Stats = field(default_factory=Stats)
    jitter_up: Jitter = field(default_factory=Jitter)
    jitter_down: Jitter = field(default_factory=Jitter)


@dataclass
class Server:
    audio_dropped: int = 0
    refused_audio: int = 0
    unwanted_audio: int = 0
    refused_texts: int = 0


def filled(histogram: Histogram) -> list[float]:
    """The bounds with something in them, once for each value."""
    pairs = zip((*histogram.bounds, float("inf")), histogram.counts, strict=True)
    return [bound for bound, count in pairs for _ in range(count)]


class TallyTests(SynchronousTestCase):
    """One process."""

    def setUp(self) -> None:
        self.tally = Tally()

    def test_open(self) -> None:
        """What an open session has counted up to now; each look is for itself."""
        audio, server = Audio(), Server()
        self.tally.opened(audio, server, 0.07)
        before = self.tally.current()
        audio.stats.forwarded, audio.jitter_up.gaps, audio.jitter_down.gaps = 3, 1, 2
        server.audio_dropped, server.refused_audio = 4, 5
        server.unwanted_audio, server.refused_texts = 6, 7
        for _ in range(2):
            now = self.tally.current()
            self.assertEqual((now.started, now.open, now.audio.forwarded), (1, 1, 3))
            self.assertEqual((now.gaps_up, now.gaps_down, now.unsent), (1, 2, 4))
            self.assertEqual((now.audio_refused, now.audio_unwanted, now.texts_refused), (5, 6, 7))
            self.assertEqual(filled(now.setup), [0.1])
            self.assertEqual(filled(now.jitter_up), [])
        self.assertEqual((before.audio.forwarded, before.gaps_up), (0, 0))

    def test_closed(self) -> None:
        """Nothing falls when a session ends, and its jitter and score are there then."""
        audio, server = Audio(Stats(forwarded=9, sent_packets=4, lost=2)), Server(audio_dropped=1)
        audio.jitter_up.seconds, audio.jitter_down.seconds = 0.004, 0.04
        self.tally.opened(audio, server, 0.07)
        before = self.tally.current()
        self.tally.closed(audio, Ending.SERVER, Quality(3.4, Saying("why")))
        audio.stats.forwarded = 99  # of no account any more
        after = self.tally.current()
        self.assertEqual((before.audio, before.unsent), (after.audio, after.unsent))
        self.assertEqual((after.started, after.open), (1, 0))
        self.assertEqual({reason for reason, count in after.ended.items() if count}, {"server"})
        self.assertEqual(filled(after.jitter_up), [0.005])
        self.assertEqual(filled(after.jitter_down), [0.05])
        self.assertEqual(filled(after.quality), [3.5])

    def test_no_audio(self) -> None:
        """A session without audio has no jitter and no score."""
        audio = Audio()
        self.tally.opened(audio, Server(), 0.07)
        self.tally.closed(audio, Ending.GOODBYE, None)
        now = self.tally.current()
        for histogram in (now.jitter_up, now.jitter_down, now.quality):
            self.assertEqual(filled(histogram), [])
        self.assertEqual(now.ended["goodbye"], 1)

    def test_several(self) -> None:
        """Those that have ended and those that are open together."""
        sessions = [Audio(Stats(sent_packets=10**n)) for n in range(4)]
        for audio in sessions:
            self.tally.opened(audio, Server(), 0.0)
        for audio in sessions[:2]:
            self.tally.closed(audio, Ending.GATEWAY, None)
        now = self.tally.current()
        self.assertEqual((now.started, now.open), (4, 2))
        self.assertEqual((now.audio.sent_packets, now.ended["gateway"]), (1111, 2))

    def test_answered(self) -> None:
        """Answers count when they are told, not when their session ends."""
        self.tally.answered(0.8)
        self.assertEqual(filled(self.tally.current().answer), [1.0])
