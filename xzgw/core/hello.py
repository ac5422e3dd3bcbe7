"""What a device's hello asks for."""

from __future__ import annotations

from xzgw.core.session_types import DeviceHello, DeviceHelloRefused, Hello
from xzgw.wire import messages

PROTOCOL_VERSION = 3


def read_hello(message: messages.Json) -> DeviceHello | DeviceHelloRefused:
    """The event that a hello message is."""
    version = message.get("version")
    if version != PROTOCOL_VERSION:
        return DeviceHelloRefused(f"hello version {PROTOCOL_VERSION} is required")
    audio = message.get("audio_params")
    frame_ms = audio.get("frame_duration") if isinstance(audio, dict) else None
    if isinstance(frame_ms, bool) or not isinstance(frame_ms, int | float):
        frame_ms = None
    return DeviceHello(Hello(messages.server_hello(message), frame_ms))
