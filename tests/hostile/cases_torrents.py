"""Chat servers that say too much, or do not listen."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.hostile.attack import Attack
from tests.hostile.cases_frames import PER_SESSION
from tests.hostile.cases_words import FEW, all_told, goes_on, survives
from tests.hostile.foul_server import BINARY, PING, PONG, TEXT, Peer, playing
from tests.hostile.harness import Case, Target
from tests.raw_device import RawVoice
from tests.support import SPEECH, frame
from xzgw.net.backend import MAX_MESSAGE, PING_EVERY
from xzgw.wire.audio import server_audio

TEXTS = 3000
PACKETS = 3000  # three minutes of audio
LARGE = 10  # messages of 1 MiB
TINY = 8000  # frames


def fast_audio(target: Target) -> None:
    """Minutes of audio at once, for devices that have been heard."""
    packets = b"".join(frame(BINARY, server_audio(n, 60 * n, SPEECH[0])) for n in range(PACKETS))

    def script(peer: Peer) -> None:
        peer.greet()
        assert peer.hear()[0] == BINARY
        peer.send(packets)
        goes_on(peer)

    with playing(target, script, FEW) as crowd:
        voices = [RawVoice(device.told("hello")["udp"]) for device in crowd]
        for device, voice in zip(crowd, voices, strict=True):
            with voice.socket:
                voice.speak(SPEECH[1])
                assert voice.hear() == SPEECH[0]
                assert all_told(device) == []
                device.say({"type": "goodbye"})


def tiny(target: Target) -> None:
    """As many frames as fit, of all kinds, each of next to nothing; then all goes on."""
    kinds = (
        frame(PING, b""),
        frame(PONG, b""),
        frame(TEXT, b""),
        frame(TEXT, b"{}"),
        frame(BINARY, b""),
        frame(TEXT, b"{", final=False) + frame(0, b"}"),
    )

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(kinds[peer.number % len(kinds)] * TINY)
        goes_on(peer)

    with playing(target, script, 4 * len(kinds)) as crowd:
        for device in crowd:
            hello = all_told(device)[0]
            device.say({"type": "goodbye", "session_id": hello["session_id"]})


def cut_off(script: Callable[[Peer], None], count: int = FEW) -> Attack:
    """The gateway has enough of a server that does this, and the device gets its goodbye.

    It does so before it would miss an answer to its own ping.
    """

    def whole(peer: Peer) -> None:
        peer.greet()
        script(peer)

    def attack(target: Target) -> None:
        with playing(target, whole, count) as crowd:
            for device in crowd:
                device.told("hello")
            started = time.monotonic()
            for device in crowd:
                device.told("goodbye")
            in_time(started)

    return attack


def in_time(started: float) -> None:
    took = time.monotonic() - started
    assert took < PING_EVERY, f"{took:.1f} s"


def endlessly(data: bytes, most: int) -> Callable[[Peer], None]:
    """It sends this again and again, until the gateway closes."""

    def script(peer: Peer) -> None:
        for _ in range(most // len(data)):
            peer.send(data)
        raise AssertionError(f"{most} bytes, and the gateway still reads")

    return script


def fragments(peer: Peer) -> None:
    """A message that has no end; some of its fragments have no bytes, either."""
    peer.send(frame(BINARY, b"x", final=False))
    endlessly(frame(0, b"x" * (peer.number % 2), final=False) * 5000, 50 << 20)(peer)


def deaf(target: Target) -> None:
    """Servers that do not read; their devices send audio, and texts without end."""

    def script(peer: Peer) -> None:
        peer.greet()
        peer.until_reset()

    text = {"type": "listen", "text": "x" * 200_000}
    with playing(target, script, FEW) as crowd:
        for device in crowd:
            voice = RawVoice(device.told("hello")["udp"])
            with voice.socket:
                for packet in SPEECH:
                    voice.speak(packet)
            for _ in range(50):
                device.say(text)
        started = time.monotonic()
        for device in crowd:
            device.told("goodbye")
        in_time(started)


CASES = (
    Case(
        "server: audio faster than real time",
        "passed on",
        fast_audio,
        lines=FEW * PER_SESSION,
    ),
    Case(
        "server: a flood of texts",
        "passed on, every one and in order, to a device that reads",
        survives(*(frame(TEXT, b'{"type":"stt"}'),) * TEXTS, passed=TEXTS),
        lines=FEW * PER_SESSION,
    ),
    Case(
        "server: messages of 1 MiB",
        "dropped and counted",
        survives(
            frame(TEXT, b'{"type":"' + b"x" * (MAX_MESSAGE - 11) + b'"}') * LARGE,
            frame(BINARY, bytes(MAX_MESSAGE)) * LARGE,
        ),
        lines=FEW * (PER_SESSION + 1),
    ),
    Case(
        "server: a flood of pings",
        "the session goes on",
        survives(frame(PING, b"are you there?") * 5000),
        lines=FEW * PER_SESSION,
    ),
    Case(
        "server: floods of frames of no or two bytes",
        "a hundred at once, then others have their turn; the session goes on",
        tiny,
        lines=24 * (PER_SESSION + 1),
        rounds=1,
    ),
    Case(
        "server: pings without reading",
        "reset when 256 KiB of pongs wait for it, the device gets its goodbye",
        cut_off(endlessly(frame(PING, bytes(125)) * 1000, 200 << 20), 2),
        lines=2 * PER_SESSION,
        rounds=1,
    ),
    Case(
        "server: stops reading",
        "audio for it is dropped; reset when 256 KiB of text wait, the device gets its goodbye",
        deaf,
        lines=FEW * (PER_SESSION + 2),
    ),
    Case(
        "server: a message in fragments without end",
        "cut off at 1 MiB, or at a thousand fragments; the device gets its goodbye",
        cut_off(
            fragments,
        ),
        lines=FEW * PER_SESSION,
    ),
)
