"""What a device's hello asks for.

What is kept of a hello is kept as long as its session, or longer; so hellos are short, the server's
as well. A device's may not grow beyond what servers take, either: they would be blamed for it.
"""

from __future__ import annotations

from xzgw.core.session_types import DeviceHello, DeviceHelloRefused, Hello
from xzgw.wire import messages

PROTOCOL_VERSION = 3
MAX_HELLO = 16 * 1024  # bytes of JSON; some 300 are usual


def read_hello(message: messages.Json) -> DeviceHello | DeviceHelloRefused:
    """The event that a hello message is."""
    version = message.get("version")
    if version != PROTOCOL_VERSION:
        return DeviceHelloRefused(f"hello version {PROTOCOL_VERSION} is required")
    text = messages.server_hello(message)
    if len(text) > MAX_HELLO:
        return DeviceHelloRefused(f"hello is longer than {MAX_HELLO} bytes")
    audio = message.get("audio_params")
    frame_ms = audio.get("frame_duration") if isinstance(audio, dict) else None
    if isinstance(frame_ms, bool) or not isinstance(frame_ms, int | float):
        frame_ms = None
    return DeviceHello(Hello(text, frame_ms))
