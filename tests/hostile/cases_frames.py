"""Chat servers that begin honestly, and then break the WebSocket, or off."""

from __future__ import annotations

import socket
import struct
import time

from tests.hostile.attack import PER_DEVICE, Attack, one_by_one
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
from tests.stream_device import HELLO
from tests.support import frame
from xzgw.net.backend import CLOSE_TIME, MAX_MESSAGE
from xzgw.wire.packets import Pingreq, Pingresp

EACH = 5  # devices for each kind
PER_SESSION = PER_DEVICE + 3  # log lines of a device with one session that goes wrong
SESSIONS = 20
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)


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


def closes(code: int | None, reason: bytes = b"") -> Script:
    """It says close, as it should be said, and sees the other's close."""
    words = b"" if code is None else struct.pack(">H", code) + reason

    def script(peer: Peer) -> None:
        peer.send(frame(CLOSE, words))
        peer.until_closed()

    return script


def breaks_off(data: bytes = b"", *, rst: bool) -> Script:
    """The end of the connection, perhaps within a frame."""

    def script(peer: Peer) -> None:
        peer.send(data)
        if rst:
            peer.cut()

    return script


def half_closes(peer: Peer) -> None:
    """It will say no more, but goes on reading."""
    peer.socket.shutdown(socket.SHUT_WR)
    peer.until_cut()


def goes_on(peer: Peer) -> None:
    """It says close, and then everything else, to the end."""
    peer.send(frame(CLOSE, b"\x03\xe8"))
    started, more = time.monotonic(), frame(TEXT, b'{"type":"hello","session_id":"new"}')
    while time.monotonic() < started + 3 * CLOSE_TIME:
        peer.send(more, frame(BINARY, bytes(200)), frame(PING, b"x"))
        time.sleep(0.01)
    raise AssertionError("the gateway still listens")


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


def restarts(target: Target) -> None:
    """The server goes down with all its sessions, and comes back."""
    server = server_of(target)
    with playing(target, silent, SESSIONS) as crowd:
        for device in crowd:
            device.told("hello")
        server.close_door()
        server.cut_all()
        for device in crowd:
            device.told("goodbye")
            device.say(HELLO)
            device.told("error")
        server.open_door()
        for device in crowd:
            device.say(HELLO)
            device.told("hello")


def silent(peer: Peer) -> None:
    """Honest, but without anything to say."""
    peer.greet()
    peer.until_closed()


CLOSES = len(CODES) + 2
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
    Case(
        "server: closes with each code",
        "the close is answered, the device gets its goodbye",
        one_by_one(
            ends(*map(closes, CODES), closes(None), closes(1000, b"x" * 123), each=2),
            ends(*map(closes, BAD_CODES), closes(1000, b"\xff"), sends(b"\x88\x01\x03"), each=2),
        ),
        lines=2 * (CLOSES + len(BAD_CODES) + 2) * PER_SESSION,
    ),
    Case(
        "server: breaks off, RST or FIN, within a frame or without",
        "the device gets its goodbye",
        ends(
            half_closes,
            *(
                breaks_off(data, rst=rst)
                for data in (b"", b"\x82", head(0x82, 126, 500) + bytes(99))
                for rst in (True, False)
            ),
        ),
        lines=7 * EACH * PER_SESSION,
    ),
    Case(
        "server: goes on after its close",
        f"not heard any more, cut off after {CLOSE_TIME:g} s",
        ends(goes_on),
        lines=EACH * PER_SESSION,
    ),
    Case(
        "server: restarts while sessions are open",
        "goodbye; error until it is back, then sessions again",
        restarts,
        lines=SESSIONS * (PER_SESSION + 4) + 4,
    ),
)
