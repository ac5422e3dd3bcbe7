"""One open voice session: its audio channel, from the reply to the device's hello to its end."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.logger import Logger

from xzgw.core.channel import AudioChannel
from xzgw.core.device_peer import Peer
from xzgw.core.link import Link
from xzgw.core.services import Services
from xzgw.core.session_types import Answer
from xzgw.wire import messages


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts from: the server's answer, the server, and when the hello came."""

    answer: Answer
    server: str
    hello_at: float  # clock seconds


class VoiceSession:
    """See the module's text. Opens with its making; `close` must be called once."""

    _log = Logger()

    def __init__(self, opening: Opening, peer: Peer, link: Link, services: Services) -> None:
        answer = opening.answer
        self.session_id = answer.session_id
        self.server = opening.server
        self.server_audio = answer.audio_params
        self.started_at = services.clock.seconds()
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
        link.channel = services.channels[self._ssrc] = self.channel
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

    def close(self, reason: str) -> None:
        """Audio stops; the rest is the session machine's."""
        del self._services.channels[self._ssrc]
        self.channel.close()
        seconds = self._services.clock.seconds() - self.started_at
        self._services.talk.add(self._peer.client_id, seconds)
        self._tell_end(reason, seconds)

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

    def _tell_end(self, reason: str, seconds: float) -> None:
        stats = self.channel.stats
        self._log.info(
            "session end: {client} session={session} reason={reason!r} duration={seconds:.1f}s"
            " up={up} lost={lost} refused={refused} unsent={unsent} down={down} dropped={dropped}",
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
        )
        self._services.events.publish(
            "session_end",
            client_id=self._peer.client_id,
            session_id=self.session_id,
            reason=reason,
            seconds=round(seconds, 1),
            audio=stats.as_dict(),
            server={
                "audio_unsent": self._link.audio_dropped,
                "audio_refused": self._link.refused_audio,
                "audio_unwanted": self._link.unwanted_audio,
                "texts_refused": self._link.refused_texts,
            },
        )
