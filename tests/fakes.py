"""Stand-ins for the adapters, and devices with everything around them: real classes, no sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent

from tests.support import frame
from xzgw.config import Config
from xzgw.core.backends import Backends
from xzgw.core.events import Events
from xzgw.core.ports import BackendEvents
from xzgw.core.services import Services
from xzgw.core.talk_time import TalkTime
from xzgw.wire import messages
from xzgw.wire.audio import Cipher
from xzgw.wire.frames import lone_audio

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors" / "vectors.json").read_text("utf-8")
)
KEY: str = VECTORS["key"]
CREDENTIALS: list[dict[str, Any]] = VECTORS["credentials"]
URL = "ws://a.example:8000/xiaozhi/v1/?from=mqtt_gateway"
CONFIG = Config((URL,), public_ip="203.0.113.7", signature_key=KEY)

Address = tuple[str, int]


class FakeDeviceLink:
    """The MQTT connection of a device (core.ports.DeviceLink)."""

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.closed: list[str] = []
        self.quiet: float | None = None  # s since its TCP answered

    def quiet_for(self) -> float | None:
        return self.quiet

    def publish(self, payload: bytes) -> None:
        self.published.append(payload)

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def take(self) -> list[bytes]:
        """What the device got since the last time."""
        taken, self.published = self.published, []
        return taken


class FakeBackendLink:
    """One dialled WebSocket (core.ports.BackendLink), and the server at its other end."""

    def __init__(self, url: str, headers: Mapping[str, str], events: BackendEvents) -> None:
        self.url = url
        self.audio_dropped = 0
        self.headers = dict(headers)
        self.texts: list[bytes] = []
        self.audio: list[tuple[int, int, bytes]] = []
        self.closed: list[tuple[int, str]] = []
        self._events = events
        self._opus: Callable[[int, bytes], None] | None = None
        self._open = False
        self._over = False

    def send_text(self, text: bytes) -> None:
        self.texts.append(text)

    def opus_to(self, take: Callable[[int, bytes], None] | None) -> None:
        self._opus = take

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        self.audio.append((sequence, timestamp, opus))

    def close(self, code: int, reason: str) -> None:
        """Like the real one: given up at once while being opened, lost later when open."""
        self.closed.append((code, reason))
        if not self._open:
            self.lose("given up")

    # --- the server's doings ---

    def open(self) -> None:
        self._open = True
        self._events.opened()

    def says(self, text: bytes) -> None:
        self._events.text(text)

    def plays(self, message: bytes) -> None:
        packet = None if self._opus is None else lone_audio(frame(2, message))
        if self._opus is None or packet is None:
            self._events.audio(message)
        else:
            self._opus(*packet)

    def answers(self, session_id: str, **members: object) -> None:
        """The server's hello."""
        self.says(messages.encode({"type": "hello", "session_id": session_id, **members}))

    def lose(self, reason: str) -> None:
        """The connection is no more; told once."""
        if not self._over:
            self._over = True
            self._events.lost(reason)


class FakeDialer:
    """Opens no WebSockets but keeps the dials (core.ports.Dialer)."""

    def __init__(self, refused: Iterable[str] = ()) -> None:
        """Dials of the refused URLs are lost before the call returns."""
        self.dials: list[FakeBackendLink] = []
        self._refused = frozenset(refused)

    def __call__(
        self, url: str, headers: Mapping[str, str], events: BackendEvents
    ) -> FakeBackendLink:
        link = FakeBackendLink(url, headers, events)
        self.dials.append(link)
        if url in self._refused:
            link.lose("refused")
        return link


class FakeVoicePort:
    """The UDP port (core.ports.VoicePort)."""

    host = ""
    port = 8884

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []  # what sender() was asked for
        self.sent: list[tuple[bytes, Address]] = []

    def sender(self, told: str, local_ip: str) -> Callable[[bytes, Address], None]:
        self.asked.append((told, local_ip))
        return lambda datagram, address: self.sent.append((datagram, address))


class CountedEntropy:
    """Call n gives as many bytes n as asked for: no two alike, the same in each run."""

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        self._calls += 1
        return bytes([self._calls]) * size


class Surroundings:
    """What a device needs, all of it fake but the services themselves."""

    now = 1757567894.9  # unix seconds

    def __init__(
        self,
        config: Config = CONFIG,
        *,
        refused: Iterable[str] = (),
        entropy: Callable[[int], bytes] | None = None,
    ) -> None:
        self.clock = Clock()
        self.dialer = FakeDialer(refused)
        self.voice = FakeVoicePort()
        self.events = Events(lambda: self.now, "run")
        self.services = Services(
            config=config,
            clock=self.clock,
            now=lambda: self.now,
            entropy=entropy or CountedEntropy(),
            dial=self.dialer,
            voice=self.voice,
            backends=Backends(self.clock.seconds, self.events),
            events=self.events,
            talk=TalkTime(lambda: self.now),
        )

    def configure(self) -> None:
        """Take the servers of the configuration, as the gateway does when it is made."""
        config = self.services.config
        self.services.backends.configure(
            config.production_servers, config.development_servers, config.development_macs
        )


class Voice:
    """A device's own end of the audio, made from the hello reply it got."""

    def __init__(self, reply: bytes) -> None:
        udp = messages.parse(reply)["udp"]
        self.key = bytes.fromhex(udp["key"])
        self.nonce = bytes.fromhex(udp["nonce"])
        self.ssrc = int.from_bytes(self.nonce[4:8], "big")
        self.cipher = Cipher(self.key, self.ssrc)


def warnings(events: Iterable[LogEvent]) -> list[str]:
    """The warnings and worse among log events, as an operator reads them."""
    quiet = (LogLevel.debug, LogLevel.info)
    return [formatEvent(event) for event in events if event["log_level"] not in quiet]
