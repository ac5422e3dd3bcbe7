"""One open voice session: its audio channel, from the reply to the device's hello to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twisted.logger import Logger

from xzgw.core import telemetry
from xzgw.core.channel import AudioChannel
from xzgw.core.device_peer import Peer
from xzgw.core.link import Link
from xzgw.core.quality import Quality
from xzgw.core.services import Services
from xzgw.core.session_types import Answer
from xzgw.core.turns import Turns
from xzgw.wire import messages
from xzgw.wire.messages import Json


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts from: the server's answer, the server, and when the hello came."""

    answer: Answer
    server: str
    hello_at: float  # clock seconds


class Observer(Protocol):
    """Who looks on at a session: both sides' messages, by type and state."""

    def device_said(self, kind: str | None, state: str | None) -> None: ...

    def server_said(self, kind: str | None, state: str | None) -> None: ...


class VoiceSession:
    """See the module's text. Opens with its making; `close` must be called once."""

    _log = Logger()

    def __init__(self, opening: Opening, peer: Peer, link: Link, services: Services) -> None:
        answer = opening.answer
        self.session_id = answer.session_id
        self.server = opening.server
        self.server_audio = answer.audio_params
        self.started_at = services.clock.seconds()
        self.observer: Observer | None = None
        self._hello_at = opening.hello_at
        self._peer = peer
        self._link = link
        self._services = services
        self._ssrc = services.new_ssrc()
        self._told = services.voice_address(peer.local_ip)
        self.channel = AudioChannel(
            key=services.entropy(16),
            ssrc=self._ssrc,
            peer_ip=peer.ip,
            frame_ms=answer.frame_ms,
            now=services.clock.seconds,
            uplink=link.send_audio,
            send=services.voice.sender(self._told[0], peer.local_ip),
        )
        channel = services.channels[self._ssrc] = self.channel
        link.play_to(channel)
        link.listener = self
        now, told = services.clock.seconds, services.tally.answered
        self._turns = Turns(now, channel.jitter_up, channel.jitter_down, told)
        services.tally.opened(channel, link, self.started_at - opening.hello_at)
        self._tell_start(self.started_at - opening.hello_at)

    def reply(self) -> bytes:
        """The reply to the device's hello. It holds the session's key."""
        host, port = self._told
        return messages.device_hello_reply(
            session_id=self.session_id,
            audio_params=self.server_audio,
            server=host,
            port=port,
            key=self.channel.key,
            nonce=self.channel.nonce,
        )

    def device_said(self, kind: str | None, state: str | None) -> None:
        """The device sent a message of this type and state, for the server."""
        if self.observer is not None:
            self.observer.device_said(kind, state)
        if not self._link.closing:
            self._turns.device_said(kind, state)

    def server_said(self, kind: str | None, state: str | None) -> None:
        """The server sent a message of this type and state."""
        if self.observer is not None:
            self.observer.server_said(kind, state)
        self._turns.server_said(kind, state)

    def server_left(self) -> None:
        """There is no server any more: the session is about to end, or is in a call now."""
        self._turns.finish()

    def told(self) -> Json:
        """`udp`, `times` and `quality`, for whoever looks at the session."""
        return self._report(self._rated())

    def close(self, reason: str) -> None:
        """Audio stops; the rest is the session machine's."""
        del self._services.channels[self._ssrc]
        self.channel.close()
        self._turns.finish()
        seconds = self._services.clock.seconds() - self.started_at
        self._services.talk.add(self._peer.client_id, seconds)
        rated = self._rated()
        ending = telemetry.ending(reason, self._link.gone)
        self._services.tally.closed(self.channel, ending, rated)
        told = self._report(rated)
        self._tell_end(reason, seconds, told)
        self._publish_end(reason, seconds, told)

    def _rated(self) -> Quality | None:
        return telemetry.quality(self.channel, self._turns, self._link.audio_dropped)

    def _report(self, rated: Quality | None) -> Json:
        channel = self.channel
        return {
            "udp": telemetry.udp(channel),
            "times": telemetry.times(self._hello_at, self.started_at, channel, self._turns),
            "quality": telemetry.quality_told(rated),
        }

    def _tell_start(self, seconds: float) -> None:
        host, port = self._told
        self._log.info(
            "session start: {client} session={session} server={server} audio={host}:{port}"
            " after={seconds:.3f}s",
            client=self._peer.client_id,
            session=self.session_id,
            server=self.server,
            host=host,
            port=port,
            seconds=seconds,
        )
        self._services.events.publish(
            "session_start",
            client_id=self._peer.client_id,
            session_id=self.session_id,
            server=self.server,
            setup_seconds=round(seconds, 3),
        )

    def _tell_end(self, reason: str, seconds: float, told: Json) -> None:
        stats, quality = self.channel.stats, told["quality"]
        self._log.info(
            "session end: {client} session={session} reason={reason!r} duration={seconds:.1f}s"
            " up={up} lost={lost} refused={refused} unsent={unsent} down={down} dropped={dropped}"
            " quality={score}",
            kind="session_end",
            client=self._peer.client_id,
            session=self.session_id,
            reason=reason,
            seconds=seconds,
            up=stats.forwarded,
            lost=stats.lost,
            refused=stats.refused,
            unsent=self._link.audio_dropped,
            down=stats.sent_packets,
            dropped=stats.dropped,
            score="none" if quality is None else quality["score"],
            **told,
        )

    def _publish_end(self, reason: str, seconds: float, told: Json) -> None:
        """As an event, which the log has as JSON."""
        events = self._services.events
        event = events.publish(
            "session_end",
            client_id=self._peer.client_id,
            session_id=self.session_id,
            reason=reason,
            seconds=round(seconds, 1),
            **told,
            audio=self.channel.stats.as_dict(),
            server={
                "audio_unsent": self._link.audio_dropped,
                "audio_refused": self._link.refused_audio,
                "audio_unwanted": self._link.unwanted_audio,
                "texts_refused": self._link.refused_texts,
            },
        )
        line = messages.encode(events.describe(event)).decode()
        self._log.info("session_end {json}", json=line)
