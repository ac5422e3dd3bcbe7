"""Chat servers whose frames are right and whose words are not, and those that say too much."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from tests.hostile.attack import Attack
from tests.hostile.cases_floods import BOMBS
from tests.hostile.cases_frames import PER_SESSION
from tests.hostile.foul_server import BINARY, CLOSE, TEXT, Peer, playing
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice, RawVoice
from tests.support import SPEECH, frame
from xzgw.net.backend import MAX_MESSAGE
from xzgw.wire.audio import server_audio
from xzgw.wire.packets import Publish

Answer = dict[str, object]

FEW = 5  # devices
LAST = b'{"type":"last"}'

# What no session can be named.
IDS: Sequence[object] = (
    *(None, "", 0, 1.5, True, [], {}, ["foul-0"], {"id": "foul-0"}),
    *("x" * 257, "x" * 200_000, "a\nb", "\0", "\x1b[31m", "\ud800"),
)
GOOD = server_audio(1, 60, SPEECH[0])


def _audio(size: int, *, kind: int = 1, length: int = -1, opus: int = -1) -> bytes:
    """A binary message with any header."""
    length, opus = (size if each < 0 else each for each in (length, opus))
    return struct.pack(">BBHIII", kind, 0, length & 0xFFFF, 1, 60, opus) + bytes(size)


# What is not audio, or too much for a datagram.
BAD_AUDIO = (
    *(b"", b"\x01", bytes(15), bytes(16), b"\x01" + bytes(15), b"{}" * 50),
    *(_audio(100, length=each) for each in (0, 99, 101, 0xFFFF)),
    *(_audio(100, opus=each) for each in (0, 99, 101, 0xFFFFFFFF, 1 << 31)),
    *(_audio(100, kind=each) for each in (0, 2, 255)),
    *(_audio(each) for each in (1485, 4000, 65_535, 65_536, MAX_MESSAGE - 16)),
)


def all_told(device: RawDevice) -> list[Answer]:
    """What it is told up to LAST, without the gateway's own questions."""
    told: list[Answer] = []
    while True:
        message = json.loads(device.next(Publish).payload)
        if message.get("type") == "last":
            return told
        if message.get("type") != "mcp":
            told.append(message)


def goes_on(peer: Peer) -> None:
    """The last words; then the device's goodbye must end it in order."""
    peer.send(frame(TEXT, LAST))
    while peer.hear()[0] != CLOSE:
        pass
    peer.send(frame(CLOSE, b"\x03\xe8"))


def survives(*data: bytes, passed: int = 0, count: int = FEW) -> Attack:
    """A session in which the server sends these frames goes on, with so many texts passed."""
    sent = b"".join(data)

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(sent)
        goes_on(peer)

    def attack(target: Target) -> None:
        with playing(target, script, count) as crowd:
            for device in crowd:
                hello, *told = all_told(device)
                assert hello["type"] == "hello"
                assert len(told) == passed, f"told {len(told)}: {str(told[:3])[:300]}"
                device.say({"type": "goodbye", "session_id": hello["session_id"]})

    return attack


def odd_hellos(target: Target) -> None:
    """Before the good one; and then others, which change nothing."""

    def script(peer: Peer) -> None:
        peer.upgrade()
        peer.hear()
        unnamed = peer.hello()
        del unnamed["session_id"]
        peer.say(unnamed, *(peer.hello(session_id=each) for each in IDS))
        peer.send(frame(TEXT, b'{"type":"hello","session_id":' + b"[" * 120 + b"]" * 120 + b"}"))
        deep: object = peer.session
        for _ in range(80):
            deep = [deep]
        peer.say(peer.hello(audio_params=deep, version={}, transport=[], udp="x" * 10_000))
        peer.say(*(peer.hello(session_id="other"),) * 20)
        goes_on(peer)

    with playing(target, script, FEW) as crowd:
        for device in crowd:
            (hello,) = all_told(device)
            assert str(hello["session_id"]).startswith("foul-"), hello["session_id"]
            assert hello["transport"] == "udp"
            device.say({"type": "goodbye", "session_id": hello["session_id"]})


def bad_audio(target: Target) -> None:
    """None of it comes to the device; what is right does."""

    def script(peer: Peer) -> None:
        peer.greet()
        assert peer.hear()[0] == BINARY
        peer.send(*(frame(BINARY, each) for each in (*BAD_AUDIO, GOOD)))
        goes_on(peer)

    with playing(target, script, FEW) as crowd:
        for device in crowd:
            voice = RawVoice(device.told("hello")["udp"])
            with voice.socket:
                voice.speak(SPEECH[1])
                assert voice.hear() == SPEECH[0]
            assert all_told(device) == []
            device.say({"type": "goodbye"})


CASES = (
    Case(
        "server: absurd hellos",
        "refused, the first good one counts; later ones change nothing",
        odd_hellos,
        lines=FEW * PER_SESSION,
    ),
    Case(
        "server: audio with lying headers, empty, or up to 1 MiB",
        "dropped and counted; the rest is passed on",
        bad_audio,
        lines=FEW * PER_SESSION,
    ),
    Case(
        "server: JSON bombs",
        "what is no JSON object is dropped, the rest is passed on as it is",
        survives(*(frame(TEXT, each) for each in BOMBS if each.isascii()), passed=4),
        lines=FEW * PER_SESSION,
    ),
)
