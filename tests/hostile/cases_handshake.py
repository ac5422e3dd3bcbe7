"""Chat servers that never get to a session."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from tests.hostile.attack import PER_DEVICE, Attack, one_by_one
from tests.hostile.foul_server import (
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
from tests.support import PATIENCE, frame, upgrade
from xzgw.core.reach import ALL_SERVERS
from xzgw.wire.packets import Pingreq, Pingresp

EACH = 3  # devices for each kind of answer
WITH_ERROR = PER_DEVICE + 3  # log lines of a device whose hello leads to nothing

Answer = Callable[[bytes], bytes]  # to the gateway's request, whatever it is
Step = Callable[[Peer], object]


def told_error(script: Script, count: int) -> Attack:
    """Devices whose server plays this script are told that there is none, and stay connected."""

    def attack(target: Target) -> None:
        with playing(target, script, count) as crowd:
            for device in crowd:
                device.told("error")
                device.send(Pingreq())
                device.next(Pingresp)

    return attack


def answers(*kinds: bytes | Answer) -> Attack:
    """A server that answers the handshake with one of these, and waits for what comes of it."""

    def script(peer: Peer) -> None:
        request = peer.request()
        kind = kinds[peer.number % len(kinds)]
        peer.send(kind if isinstance(kind, bytes) else kind(request))
        peer.until_closed()

    return at_once(told_error(script, EACH * len(kinds)))


def at_once(attack: Attack) -> Attack:
    """The same, but nobody waits until the gateway's patience with servers is over."""

    def timed(target: Target) -> None:
        started = time.monotonic()
        attack(target)
        took = time.monotonic() - started
        assert took < ALL_SERVERS, f"{took:.1f} s"

    return timed


def status(code: int, *headers: str, body: str = "") -> bytes:
    """A whole HTTP answer."""
    lines = (f"HTTP/1.1 {code} No", f"Content-Length: {len(body)}", *headers, "", body)
    return "\r\n".join(lines).encode()


def replaced(old: bytes, new: bytes) -> Answer:
    """The answer that is asked for, but for this."""

    def answer(request: bytes) -> bytes:
        good = upgrade(request)
        assert old in good
        return good.replace(old, new)

    return answer


def refuses(target: Target) -> None:
    """Nobody listens; then somebody does again."""
    server = server_of(target)
    server.close_door()
    try:
        told_error(Peer.greet, 10 * EACH)(target)
    finally:
        server.open_door()
    with playing(target, Peer.greet, 1) as (device,):
        device.told("hello")


# --- where a server may stop, and hold the connection ---


def silent_after(step: Step) -> Script:
    """It does this, and nothing more until the gateway has had enough."""

    def script(peer: Peer) -> None:
        step(peer)
        peer.until_cut()

    return script


def trickle(peer: Peer) -> None:
    """The right answer, a byte now and then, with no end in sight."""
    for byte in upgrade(peer.request()):
        peer.send(bytes((byte,)))
        if select.select([peer.socket], [], [], 0.1)[0]:
            return  # given up


def ping(peer: Peer) -> None:
    """Alive, but without a word."""
    peer.upgrade()
    peer.hear()
    peer.send(frame(PING, b"here"))
    while peer.hear()[0] == PONG:
        if not select.select([peer.socket], [], [], 0.1)[0]:
            peer.send(frame(PING, b"still here"))


def other_words(peer: Peer) -> None:
    """All but a hello."""
    peer.upgrade()
    peer.say({"type": "stt", "text": "?"}, {"type": "mcp", "payload": {}})


HANGS = (
    silent_after(lambda peer: None),
    silent_after(Peer.request),
    silent_after(lambda peer: peer.send(upgrade(peer.request())[:50])),
    silent_after(Peer.upgrade),
    silent_after(other_words),
    trickle,
    ping,
)


def hangs(target: Target) -> None:
    """All kinds at the same time, for each takes all the time that there is."""
    started = time.monotonic()
    told_error(lambda peer: HANGS[peer.number % len(HANGS)](peer), 3 * len(HANGS))(target)
    took = time.monotonic() - started
    assert ALL_SERVERS - 0.5 < took < ALL_SERVERS + PATIENCE, f"took {took:.1f} s"


def leaves(peer: Peer) -> None:
    """It goes away at every stage, in order or not."""
    steps: tuple[tuple[Step, ...], ...] = (
        (),
        (Peer.request,),
        (Peer.upgrade,),
        (Peer.upgrade, Peer.hear),
    )
    for step in steps[peer.number % len(steps)]:
        step(peer)
    if peer.number // len(steps) % 2:
        peer.cut()


def half_an_answer(peer: Peer) -> None:
    """RST in the middle of the answer."""
    peer.send(upgrade(peer.request())[:60])
    peer.cut()


def unbound(peer: Peer) -> None:
    """What the real server says to a token that it does not like."""
    peer.upgrade()
    peer.send(frame(TEXT, "\u8ba4\u8bc1\u5931\u8d25".encode()), frame(CLOSE, b"\x03\xe8"))
    peer.until_closed()


CASES = (
    Case("server: refuses", "error to the device at once", refuses, lines=50 * WITH_ERROR + 9),
    Case(
        "server: answers 401, 403, 502, 200, 301, 100",
        "error to the device at once; redirections are not followed",
        answers(
            status(401, "WWW-Authenticate: Basic"),
            status(403, body="go away"),
            status(502, body="<html>" + "x" * 9000),
            status(200, body="{}"),
            status(301, "Location: ws://127.0.0.1:1/"),
            status(100),
        ),
        lines=6 * EACH * WITH_ERROR,
    ),
    Case(
        "server: answers with garbage",
        "the same, at 16 KiB without an end at the latest",
        answers(
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"\x16\x03\x01\x00\x02\x02\x28\r\n\r\n",
            bytes(20_000),
            b"\xff" * 500 + b"\r\n\r\n",
            b"HTTP/1.1 101\r\n\r\n",
            b"HTTP/1.1 " + b"9" * 5000 + b" x\r\n\r\n",
            b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 4000,
            b"HTTP/1.1 101 x\r\nno colon\r\n: \r\n\r\n",
            b"\r\n\r\n\r\n",
        ),
        lines=9 * EACH * WITH_ERROR,
    ),
    Case(
        "server: an upgrade that was not asked for",
        "the same",
        answers(
            replaced(b"Accept: ", b"Accept: x"),
            replaced(b"Sec-WebSocket-Accept", b"X-Accept"),
            replaced(b"Sec-WebSocket-Accept", b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Accept"),
            replaced(b"websocket", b"h2c"),
            replaced(b"Connection: Upgrade", b"Connection: close"),
            replaced(b"HTTP/1.1 101", b"HTTP/1.0 101"),
            replaced(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
            replaced(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            replaced(b"\r\n\r\n", b'\r\nSec-WebSocket-Extensions: ,;="\r\n\r\n'),
        ),
        lines=9 * EACH * WITH_ERROR,
    ),
    Case(
        "server: goes away during the handshake",
        "the same",
        one_by_one(told_error(leaves, 10 * EACH), told_error(half_an_answer, 4 * EACH)),
        lines=14 * EACH * WITH_ERROR,
    ),
    Case(
        "server: refuses by a text after the upgrade",
        "the same",
        told_error(unbound, 4 * EACH),
        lines=4 * EACH * (WITH_ERROR + 1),
    ),
    Case(
        "server: hangs at each step",
        f"error to the device after {ALL_SERVERS:g} s, before it gives up itself",
        hangs,
        lines=3 * len(HANGS) * WITH_ERROR,
        rounds=1,
    ),
)
