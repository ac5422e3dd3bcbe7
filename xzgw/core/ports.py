"""What the core needs of its adapters, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class DeviceLink(Protocol):
    """The MQTT connection of one device."""

    def publish(self, payload: bytes) -> None:
        """Push one message to the device's own topic, QoS 0."""

    def close(self, reason: str) -> None:
        """Send what is queued, then close. `reason` goes into the log."""

    def quiet_for(self) -> float | None:
        """Seconds since the device's TCP last acknowledged anything; None if nobody knows."""


class BackendEvents(Protocol):
    """What one dialled connection tells. `lost` comes exactly once, and last."""

    def opened(self) -> None: ...

    def text(self, text: bytes) -> None: ...

    def audio(self, message: bytes) -> None: ...

    def lost(self, reason: str) -> None: ...


class BackendLink(Protocol):
    """One WebSocket to one server, being opened or open."""

    @property
    def audio_dropped(self) -> int:
        """Packets, because the server did not keep up reading."""

    def send_text(self, text: bytes) -> None: ...

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        """Send one Opus packet; dropped when the server does not keep up reading."""

    def opus_to(self, take: Callable[[int, bytes], None] | None) -> None:
        """Give timestamp (ms) and Opus packet of audio to this from now on.

        With None, and for all that is not well-formed, there is `BackendEvents.audio`.
        """

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket code; while still being opened, give up."""


class Dialer(Protocol):
    """Opens WebSockets."""

    def __call__(
        self, url: str, headers: Mapping[str, str], events: BackendEvents
    ) -> BackendLink: ...


class Receiver(Protocol):
    """What takes the datagrams of one connection id: an audio channel, or who stands before it."""

    def receive(self, datagram: bytes, source: tuple[str, int]) -> None: ...


class VoicePort(Protocol):
    """The UDP port that all audio of devices passes through."""

    @property
    def host(self) -> str:
        """The only address it is bound to; empty for all of the host's."""

    @property
    def port(self) -> int:
        """The number it is bound to."""

    def sender(self, told: str, local_ip: str) -> Callable[[bytes, tuple[str, int]], None]:
        """How to send datagrams to one device, from an address its socket accepts.

        Args:
            told: the host that the device was told to send to.
            local_ip: the address of ours that its MQTT connection arrived at.
        """
