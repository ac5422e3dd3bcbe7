"""Chat servers that begin honestly, and then break the WebSocket, or off."""

from __future__ import annotations

import struct

from tests.hostile.attack import PER_DEVICE, Attack
from tests.hostile.foul_server import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Peer,
    Script,
    playing,
    server_of,
)
from tests.hostile.harness import Case, Target
from tests.support import frame
from xzgw.net.backend import MAX_MESSAGE
from xzgw.wire.packets import Pingreq, Pingresp

EACH = 3  # devices for each kind
PER_SESSION = PER_DEVICE + 5  # log lines of a device with one session that goes wrong


def ends(*scripts: Script, each: int = EACH) -> Attack:
    """After an honest beginning the server plays one of these: the device gets its goodbye."""

    def script(peer: Peer) -> None:
        peer.greet()
        scripts[peer.number % len(scripts)](peer)

    def attack(target: Target) -> None:
        with playing(target, script, each * len(scripts)) as crowd:
            sessions = [device.told("hello")["session_id"] for device in crowd]
            for device, session in zip(crowd, sessions, strict=True):
                assert device.told("goodbye")["session_id"] == session
                device.send(Pingreq())
                device.next(Pingresp)

    return attack


def sends(data: bytes) -> Script:
    """It sends this, and holds the connection as long as the gateway does."""

    def script(peer: Peer) -> None:
        peer.send(data)
        peer.until_cut()

    return script


def breaks(*data: bytes) -> Attack:
    """Frames after which nothing can be understood any more."""
    return ends(*map(sends, data))


def head(first: int, code: int, size: int = 0) -> bytes:
    """A frame's head with whatever length in whatever form."""
    sizes = {126: ">H", 127: ">Q"}
    return bytes((first, code)) + (struct.pack(sizes[code], size) if code in sizes else b"")


def more_promised(target: Target) -> None:
    """Frames whose end does not come hold up nobody; the session ends when the device says so."""
    beginnings = (
        head(0x82, 127, MAX_MESSAGE) + b"x",
        head(0x81, 126, 5000) + b"{",
        head(0x82, 126),
        b"\x82",
        frame(TEXT, b"{", final=False) + head(0x80, 100) + b"x" * 99,
    )

    def script(peer: Peer) -> None:
        peer.greet()
        peer.send(beginnings[peer.number % len(beginnings)])
        peer.until_closed()

    with playing(target, script, 2 * EACH) as crowd:
        for device in crowd:
            session = device.told("hello")["session_id"]
            device.say({"type": "goodbye", "session_id": session})
            device.send(Pingreq())
            device.next(Pingresp)
        server_of(target).settle()  # all were closed, though the devices are still here


BREAKS = (
    (
        "reserved bits and opcodes",
        breaks(
            *(head(first, 0) for first in (0xC1, 0xA1, 0x91, 0xC2, 0xF9)),
            *(head(0x80 | code, 0) for code in (3, 7, 11, 15)),
        ),
        9,
    ),
    (
        "control frames too long, or in fragments",
        breaks(
            *(frame(code, bytes(126)) for code in (PING, PONG, CLOSE)),
            *(frame(code, b"xx", final=False) for code in (PING, PONG, CLOSE)),
            head(0x89, 127, MAX_MESSAGE),
        ),
        7,
    ),
    (
        "fragments out of order",
        breaks(
            frame(0, b"x"),
            frame(0, b"x", final=False),
            frame(TEXT, b"{", final=False) + frame(TEXT, b"}"),
            frame(BINARY, b"x", final=False) + frame(BINARY, b"x"),
        ),
        4,
    ),
    ("masked frames", breaks(b"\x81\x82mask\x16\x1c", b"\x82\x80mask", b"\x89\x80mask"), 3),
    (
        "lengths that lie",
        breaks(
            head(0x81, 126, 1) + b"x",
            head(0x82, 127, 125) + bytes(125),
            head(0x82, 127, 1 << 63),
            head(0x82, 127, (1 << 64) - 1),
            head(0x82, 127, 1 << 40),
            head(0x81, 127, MAX_MESSAGE + 1),
            frame(BINARY, b"", final=False) + head(0x80, 127, 1 << 40),
            head(0x82, 10) + bytes(12) + b"\xff\xff",  # shorter than what comes
        ),
        8,
    ),
    (
        "text that is not UTF-8",
        breaks(
            frame(TEXT, b'{"type":"\xff"}'),
            frame(TEXT, b"\xc0\x80"),
            frame(TEXT, b"\xed\xa0\x80"),
            frame(TEXT, b"\xe8\xae"),
            frame(TEXT, b"\xe8", final=False) + frame(0, b"{}"),
        ),
        5,
    ),
)

CASES = (
    *(
        Case(
            f"server: {name}",
            "the session ends, the device gets its goodbye",
            attack,
            lines=count * EACH * PER_SESSION,
        )
        for name, attack, count in BREAKS
    ),
    Case(
        "server: frames that promise more than comes",
        "nobody waits for it; closed when the device says goodbye",
        more_promised,
        lines=2 * EACH * PER_SESSION,
    ),
)
