"""One connected device: its messages in, its session run, its replies out.

The decisions are the session machine's (session.py); here its commands are carried out. Audio does
not pass here: the machine only opens and closes the channel.
"""

from __future__ import annotations

from collections import deque

from twisted.logger import Logger

from xzgw.core.channel import AudioChannel
from xzgw.core.device_peer import Peer
from xzgw.core.link import Link
from xzgw.core.ports import DeviceLink
from xzgw.core.reach import Reach
from xzgw.core.services import Services
from xzgw.core.session import Session
from xzgw.core.session_types import (
    Answer,
    BackendEvent,
    CloseAudio,
    Command,
    DeviceEvent,
    DeviceGoodbye,
    DeviceHello,
    DeviceHelloRefused,
    DeviceLost,
    DeviceText,
    DeviceUdpTimeout,
    Dial,
    Greet,
    HangUp,
    Hello,
    ToBackend,
    ToDevice,
)
from xzgw.wire import messages

PROTOCOL_VERSION = 3


class Device:
    """See the module's text. Lives as long as one MQTT connection."""

    _log = Logger()

    def __init__(self, peer: Peer, link: DeviceLink, services: Services) -> None:
        self.peer = peer
        self.session = Session()
        self.channel: AudioChannel | None = None
        self.mcp = services.mcp_client(link.publish)
        self.connected_at = services.clock.seconds()
        self.refused_messages = 0
        self._mqtt = link
        self._services = services
        self._reach = Reach(peer, services, self.mcp, self.feed)
        self._link: Link | None = None  # the present one to a server
        self._events: deque[DeviceEvent | BackendEvent] = deque()
        self._busy = False
        self._ssrc = 0
        self._session_id = ""
        self._session_at = 0.0  # clock seconds

    def start(self) -> None:
        """Ask for the device's tools; called once CONNACK is sent."""
        self.mcp.start().addCallback(self._log_tools)

    def received(self, text: bytes) -> None:
        """Take one message of the device."""
        try:
            message = messages.parse(text)
        except messages.MessageError as error:
            self._refuse(str(error))
            return
        kind = messages.text_member(message, "type")
        session_id = messages.text_member(message, "session_id")
        match kind:
            case "hello":
                self.feed(_read_hello(message))
            case "goodbye":
                self.feed(DeviceGoodbye(session_id))
            case "udp_timeout":
                self.feed(DeviceUdpTimeout())
            case "mcp" if self._is_ours(message.get("payload")):
                pass
            case _:
                self.feed(DeviceText(text, kind, session_id))

    def disconnect(self, reason: str) -> None:
        """Close the MQTT connection; `lost` follows."""
        self._mqtt.close(reason)

    def lost(self) -> None:
        """The MQTT connection is no more."""
        self.feed(DeviceLost())
        self.mcp.close("device disconnected")

    def feed(self, event: DeviceEvent | BackendEvent) -> None:
        """Let the session take an event; what its commands cause in turn comes after them."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for command in self.session.receive(self._events.popleft()):
                    self._run(command)
        finally:
            self._busy = False

    def _run(self, command: Command) -> None:
        match command:
            case ToDevice(text):
                self._trace("to device", text)
                self._mqtt.publish(text)
            case ToBackend(_, text):
                self._trace("to server", text)
                self._to_backend(text)
            case Dial(number, fresh):
                self._link = self._reach.dial(number, fresh)
            case Greet(number, text):
                self._to_backend(text)
                self._reach.greeted(number)
            case Answer():
                self._answer(command)
            case CloseAudio(reason):
                self._close_audio(reason)
            case HangUp(_, code, reason):
                self._hang_up(code, reason)

    def _trace(self, direction: str, text: bytes) -> None:
        """With `debug`, one line per message: never its content, which may hold tokens."""
        if self._services.config.debug:
            self._log.debug(
                "{client}: {direction}: {kind}, {size} bytes",
                client=self.peer.client_id,
                direction=direction,
                kind=messages.text_member(messages.parse(text), "type"),
                size=len(text),
            )

    def _to_backend(self, text: bytes) -> None:
        if self._link is not None:
            self._link.send_text(text)

    def _hang_up(self, code: int, reason: str) -> None:
        self._reach.stop()
        if self._link is not None:
            self._link.close(code, reason)
            self._link = None

    def _answer(self, answer: Answer) -> None:
        link, services, peer = self._link, self._services, self.peer
        if link is None:
            return
        url = self._reach.reached()
        host, port = services.voice_address(peer.local_ip)
        self._ssrc = services.new_ssrc()
        channel = AudioChannel(
            key=services.entropy(16),
            ssrc=self._ssrc,
            peer_ip=peer.ip,
            frame_ms=answer.frame_ms,
            uplink=link.send_audio,
            send=services.voice.sender(host, peer.local_ip),
        )
        self.channel = link.channel = services.channels[self._ssrc] = channel
        self._session_id = answer.session_id
        self._session_at = services.clock.seconds()
        reply = messages.device_hello_reply(
            session_id=answer.session_id,
            audio_params=answer.audio_params,
            server=host,
            port=port,
            key=channel.key,
            nonce=channel.nonce,
        )
        self._mqtt.publish(reply)
        self._log.info(
            "session start: {client} session={session} server={server} audio={host}:{port}"
            " after={seconds:.3f}s",
            client=peer.client_id,
            session=answer.session_id,
            server=url,
            host=host,
            port=port,
            seconds=self._session_at - self._reach.started_at,
        )

    def _close_audio(self, reason: str) -> None:
        channel = self.channel
        if channel is None:
            return
        self.channel = None
        del self._services.channels[self._ssrc]
        channel.close()
        stats = channel.stats
        self._log.info(
            "session end: {client} session={session} reason={reason!r} duration={seconds:.1f}s"
            " up={up} lost={lost} refused={refused} down={down} dropped={dropped}",
            client=self.peer.client_id,
            session=self._session_id,
            reason=reason,
            seconds=self._services.clock.seconds() - self._session_at,
            up=stats.forwarded,
            lost=stats.lost,
            refused=stats.refused,
            down=stats.sent_packets,
            dropped=stats.dropped,
        )

    def _is_ours(self, payload: object) -> bool:
        return isinstance(payload, dict) and self.mcp.reply(payload)

    def _log_tools(self, status: str) -> None:
        self._log.info("MCP: {client}: {status}", client=self.peer.client_id, status=status)

    def _refuse(self, why: str) -> None:
        self.refused_messages += 1
        if self.refused_messages == 1:
            self._log.warn(
                "{client}: dropping a message that is {why} (further ones are only counted)",
                client=self.peer.client_id,
                why=why,
            )


def _read_hello(message: messages.Json) -> DeviceHello | DeviceHelloRefused:
    version = message.get("version")
    if version != PROTOCOL_VERSION:
        return DeviceHelloRefused(f"hello version {PROTOCOL_VERSION} is required")
    audio = message.get("audio_params")
    frame_ms = audio.get("frame_duration") if isinstance(audio, dict) else None
    if isinstance(frame_ms, bool) or not isinstance(frame_ms, int | float):
        frame_ms = None
    return DeviceHello(Hello(messages.server_hello(message), frame_ms))
