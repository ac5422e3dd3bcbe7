"""Chat servers that end what they have honestly begun, in every way."""

from __future__ import annotations

import json
import socket
import struct
import time
from functools import partial

from tests.hostile.attack import one_by_one
from tests.hostile.cases_frames import EACH, PER_SESSION, ends, head, sends
from tests.hostile.foul_server import BINARY, CLOSE, PING, TEXT, Peer, Script, playing, server_of
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import frame
from xzgw.net.backend import CLOSE_TIME
from xzgw.wire.packets import Publish

SESSIONS = 20
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
CLOSES = len(CODES) + 2


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
    started, more = time.monotonic(), frame(TEXT, b'{"type":"stt","text":"late"}')
    while time.monotonic() < started + 3 * CLOSE_TIME:
        peer.send(more, frame(BINARY, bytes(200)), frame(PING, b"x"))
        time.sleep(0.01)
    raise AssertionError("the gateway still listens")


def heard_no_more(target: Target) -> None:
    """The device is told nothing between its hello and its goodbye."""

    def script(peer: Peer) -> None:
        peer.greet()
        goes_on(peer)

    with playing(target, script, EACH) as crowd:
        for device in crowd:
            kinds = [kind for kind in iter(partial(kind_told, device), "goodbye") if kind != "mcp"]
            assert kinds == ["hello"], kinds


def kind_told(device: RawDevice) -> str:
    """The type of the next message."""
    return str(json.loads(device.next(Publish).payload)["type"])


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


CASES = (
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
        heard_no_more,
        lines=EACH * PER_SESSION,
        rounds=1,
    ),
    Case(
        "server: restarts while sessions are open",
        "goodbye; error until it is back, then sessions again",
        restarts,
        lines=SESSIONS * (PER_SESSION + 4) + 4,
    ),
)
