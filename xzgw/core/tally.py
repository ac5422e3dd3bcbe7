"""Adds up what all sessions of this process come to."""

from __future__ import annotations

from typing import Protocol

from xzgw.core.audio_stats import Stats
from xzgw.core.findings import Cause
from xzgw.core.jitter import Jitter
from xzgw.core.quality import Quality
from xzgw.core.totals import Totals


class Audio(Protocol):
    """What is counted of a session's audio (core.channel.AudioChannel)."""

    stats: Stats
    jitter_up: Jitter
    jitter_down: Jitter


class Server(Protocol):
    """What is counted of its connection to the server (core.link.Link)."""

    refused_texts: int
    refused_audio: int
    unwanted_audio: int

    @property
    def audio_dropped(self) -> int: ...


class Tally:
    """See the module's text."""

    def __init__(self) -> None:
        self._over = Totals()  # sessions that have ended, and what is told of open ones at once
        self._open: dict[Audio, Server] = {}

    def opened(self, audio: Audio, server: Server, seconds: float) -> None:
        """A session was answered, so long after its hello; what it counts is looked at later."""
        self._over.started += 1
        self._over.setup.observe(seconds)
        self._open[audio] = server

    def failed(self) -> None:
        """No chat server answered a hello."""
        self._over.failed += 1

    def diagnosed(self, cause: Cause) -> None:
        """This was told of a device."""
        self._over.diagnosed[cause] += 1

    def answered(self, seconds: float) -> None:
        """A turn is over, with the first audio back so long after the end of speech."""
        self._over.answer.observe(seconds)

    def closed(self, audio: Audio, ending: str, quality: Quality | None) -> None:
        """A session is over.

        Args:
            ending: one of core.totals.ENDINGS.
            quality: None without audio.
        """
        over = self._over
        over.audio.add(audio.stats)
        _add(over, audio, self._open.pop(audio))
        over.ended[ending] += 1
        if audio.stats.forwarded:
            over.jitter_up.observe(audio.jitter_up.seconds)
        if audio.stats.sent_packets:
            over.jitter_down.observe(audio.jitter_down.seconds)
        if quality is not None:
            over.quality.observe(quality.score)

    def current(self) -> Totals:
        """Of ended and open sessions: a few microseconds for each open one."""
        totals = self._over.copy()
        totals.open = len(self._open)
        totals.audio.add(*(audio.stats for audio in self._open))
        for audio, server in self._open.items():
            _add(totals, audio, server)
        return totals


def _add(totals: Totals, audio: Audio, server: Server) -> None:
    """All but the counts of packets."""
    totals.gaps_up += audio.jitter_up.gaps
    totals.gaps_down += audio.jitter_down.gaps
    totals.unsent += server.audio_dropped
    totals.audio_refused += server.refused_audio
    totals.audio_unwanted += server.unwanted_audio
    totals.texts_refused += server.refused_texts
