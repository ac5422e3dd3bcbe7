"""What is seen of one device that bears on a diagnosis: a few times and counts.

Each message of device and server passes here by its type and state; audio never does.
"""

from __future__ import annotations

from collections.abc import Callable

from xzgw.core.channel import AudioChannel
from xzgw.core.findings import Talk
from xzgw.core.link import Link


class Symptoms:
    """Those of one session, from its opening on (voice_session.Observer).

    Attributes:
        timed_out: whether the device has reported that it gets no audio.
    """

    __slots__ = (
        "_arrived",
        "_asked_at",
        "_changed",
        "_channel",
        "_down",
        "_link",
        "_listening_at",
        "_mute_turns",
        "_now",
        "_opened_at",
        "_played",
        "_reactions",
        "_speaking_at",
        "_strays",
        "_subtitled",
        "_told",
        "_understood_at",
        "_up",
        "timed_out",
    )

    def __init__(
        self,
        now: Callable[[], float],
        channel: AudioChannel,
        link: Link,
        told: tuple[str, int],
        strays: int,
        changed: Callable[[], None],
    ) -> None:
        """
        Args:
            now: clock seconds.
            told: where the device was told to send audio.
            strays: datagrams from its address that were for no open session, until now.
            changed: called after each message.
        """
        self.timed_out = False
        self._changed = changed
        self._now = now
        self._told = told
        self._strays = strays
        self._opened_at = now()
        self._channel = channel
        self._link = link
        self._listening_at: float | None = None
        self._asked_at: float | None = None
        self._understood_at: float | None = None
        self._speaking_at: float | None = None
        self._arrived = 0  # datagrams when it began to listen
        self._up = 0  # and audio packets
        self._down = 0  # and when the server began to speak, or had understood
        self._mute_turns = 0
        self._reactions = 0
        self._played = False
        self._subtitled = False  # the server's present answer

    def device_said(self, kind: str | None, state: str | None) -> None:
        """The device sent a message of this type and state."""
        self._changed()
        now = self._now()
        match kind, state:
            case "listen", "start":
                self._listening_at = now
                self._asked_at = self._understood_at = None
                stats = self._channel.stats
                self._arrived, self._up = stats.received_packets, stats.forwarded
            case "listen", "stop":
                heard = self._channel.stats.forwarded > self._up
                self._asked_at = now if heard and self._listening_at is not None else None
                self._listening_at = None
            case "listen", "detect":
                self._asked_at = now
            case "abort", _:
                self._asked_at = self._understood_at = self._speaking_at = None

    def server_said(self, kind: str | None, state: str | None) -> None:
        """The server sent a message of this type and state, but for hello and MCP."""
        self._changed()
        match kind, state:
            case "stt", _:
                self._understood_at = self._now()
                if self._speaking_at is None:
                    self._down = self._audio()
            case "tts", "start":
                self._listening_at = self._understood_at = None
                self._speaking_at, self._down = self._now(), self._audio()
                self._played, self._subtitled = True, False
            case "tts", "sentence_start":
                self._subtitled = True
            case "tts", "stop":
                self._understood_at = None
                self._end_turn()
        self._reactions += 1
        self._asked_at = None

    @property
    def pending(self) -> bool:
        """Whether something is being waited for: then a look makes sense though nothing happens."""
        if not self._channel.stats.forwarded or self._asked_at is not None:
            return True
        if self._audio() and not self._played:
            return True
        if self._understood_at is not None or self._speaking_at is not None:
            return self._audio() == self._down
        heard = self._channel.stats.forwarded > self._up
        return self._listening_at is not None and not (self._reactions and heard)

    def talk(self, server: str, local_ip: str, in_call: bool, strays: int) -> Talk:
        """All of it.

        Args:
            server: the chat server's URL, for people.
            local_ip: the address of ours that the device's connection arrived at.
            strays: as before, by now.
        """
        now, stats, audio = self._now(), self._channel.stats, self._audio()
        return Talk(
            age=now - self._opened_at,
            server=server,
            told=self._told,
            local_ip=local_ip,
            in_call=in_call,
            received=stats.received_packets,
            forwarded=stats.forwarded,
            refused={reason: n for reason, n in stats.refused_by().items() if n},
            strays=max(0, strays - self._strays),
            listening=_ago(self._listening_at, now),
            arrived=stats.received_packets - self._arrived,
            listened=stats.forwarded - self._up,
            asked=_ago(self._asked_at, now),
            understood=_ago(self._understood_at, now),
            speaking=_ago(self._speaking_at, now),
            spoken=audio - self._down,
            mute_turns=self._mute_turns,
            reactions=self._reactions,
            played=self._played,
            audio=audio,
            sent=stats.sent_packets,
            waiting=self._channel.waiting + stats.dropped_waiting,
            headless=self._link.refused_audio,
            timed_out=self.timed_out,
        )

    def _end_turn(self) -> None:
        """The server ends its answer; one of which nothing was to be heard has subtitles alone."""
        if self._speaking_at is None:
            return
        self._speaking_at = None
        if self._audio() > self._down:
            self._mute_turns = 0
        elif self._subtitled:
            self._mute_turns += 1

    def _audio(self) -> int:
        """The server's audio packets so far, sent or not."""
        stats = self._channel.stats
        return stats.sent_packets + stats.dropped_waiting + self._channel.waiting


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else now - at
