"""Devices with good credentials that send too much, or nonsense."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from tests.hostile.attack import (
    CROWD,
    PER_DEVICE,
    Attack,
    cut_off,
    devices,
    kept,
    one_by_one,
    told_only,
)
from tests.hostile.harness import Case, Target
from tests.support import read_to_end, reset
from xzgw.settings.table import MESSAGE_BURST
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import (
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
)

TOPIC = "device-server"
MAX_PAYLOAD = 1 << 20  # bytes, the default
FILTERS = 4000  # in just under 16 KiB
PINGS = MESSAGE_BURST.default - 1  # one is for the end
FLOOD = 1 << 20  # bytes of packets that carry no message
TOO_MANY = 3000  # messages at once; message_burst is 1000

# What the parser, the session and the chat server's side are to survive.
BOMBS = (
    b"",
    b"[]",
    b"null",
    b'"text"',
    b"{",
    b"\xff\xfe{}",
    b'{"type":"hello","version":NaN}',
    b'{"type":"listen","n":1e999}',
    b'{"type":"listen","n":' + b"9" * 4301 + b"}",
    b'{"type":"listen","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"type":"listen","a":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    b"{" + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}",
    b'{"type":"listen","a":[' + b"[]," * 340_000 + b"[]]}",
    b'{"type":"listen","a":[' + b'{"":1},' * 140_000 + b"1]}",
    b'{"type":' + b'{"type":' * 90 + b"1" + b"}" * 91,
    b'{"type":"\\ud800","session_id":"\\udfff"}',
    b'{"type":["hello"],"session_id":{}}',
    b'{"type":"mcp","payload":[]}',
    b'{"type":"goodbye","session_id":17}',
    b'{"type":"' + b"x" * (MAX_PAYLOAD - 11) + b'"}',
)


def publishes(payloads: Iterable[bytes]) -> bytes:
    return b"".join(encode(Publish(TOPIC, each)) for each in payloads)


def arrivals(target: Target) -> None:
    """Each comes with good credentials and goes at once."""
    for number in range(4 * CROWD):
        with target.device(number).socket as connection:
            connection.sendall(b"\xe0\x00")


def unfinished(target: Target) -> None:
    """A PUBLISH of 1 MiB whose end never comes, and no word of leaving."""
    begun = encode(Publish(TOPIC, b"x" * MAX_PAYLOAD))[:-1]
    with devices(target, range(5)) as crowd:
        for each in crowd:
            each.socket.sendall(begun)
            reset(each.socket)


def without_message(packet: Packet, answer: type[Packet]) -> Attack:
    """Devices that send this and nothing else, until they are closed."""
    data = encode(packet)
    flood = data * (FLOOD // len(data))

    def attack(target: Target) -> None:
        with devices(target, range(3)) as crowd:
            for each in crowd:
                with suppress(ConnectionError):  # closed before the end
                    each.socket.sendall(flood)
            for each in crowd:
                told_only(read_to_end(each.socket), answer)

    return attack


def bombs(target: Target) -> None:
    with devices(target, range(2)) as crowd:
        for device in crowd:
            for bomb in BOMBS:
                device.send(Publish(TOPIC, bomb), Pingreq())
                device.next(Pingresp)


def many_bombs(target: Target) -> None:
    """The most laborious of them, from many devices at once."""
    heap = [Publish(TOPIC, bomb) for bomb in BOMBS if len(bomb) > MAX_PAYLOAD // 2]
    with devices(target, range(10)) as crowd:
        for device in crowd:
            device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_PAYLOAD)
            device.send(*heap, Pingreq())
        for device in crowd:
            device.next(Pingresp)


CASES = (
    Case(
        "floods: CONNECT with good credentials",
        "each is served",
        arrivals,
        lines=4 * CROWD * PER_DEVICE,
    ),
    Case(
        "floods: PUBLISH of junk",
        "dropped beyond message_burst, then closed; a few lines in the log",
        cut_off(encode(Publish(TOPIC, b"junk")) * TOO_MANY, 5),
        lines=5 * (PER_DEVICE + 2),
    ),
    Case(
        "floods: PUBLISH to other topics",
        "the same",
        cut_off(encode(Publish("devices/p2p/02_00_00_00_ff_ff", b"{}")) * TOO_MANY, 5),
        lines=5 * (PER_DEVICE + 2),
    ),
    Case(
        "floods: PUBLISH above max_mqtt_payload_size",
        "closed before it is read",
        cut_off(encode(Publish(TOPIC, b"x" * (MAX_PAYLOAD + 1)))[:64]),
        lines=CROWD * PER_DEVICE,
    ),
    Case(
        "floods: PUBLISH of 1 MiB, never finished",
        "its memory is free again when the connection is gone",
        unfinished,
        lines=5 * PER_DEVICE,
    ),
    Case(
        "floods: SUBSCRIBE to thousands of topics",
        "answered in one SUBACK; above 16 KiB closed",
        one_by_one(
            kept(
                encode(Subscribe(1, (("a", 0),) * FILTERS)) * 5,
                [Suback(1, (128,) * FILTERS)] * 5,
                5,
            ),
            cut_off(Subscribe(1, (("a", 0),) * 5000), 5),
        ),
        lines=10 * PER_DEVICE,
    ),
    Case(
        "floods: PINGREQ",
        "each is answered, up to message_burst",
        kept(encode(Pingreq()) * PINGS, [Pingresp()] * PINGS, 2),
        lines=2 * PER_DEVICE,
    ),
    Case(
        "floods: packets without a message",
        "dropped beyond message_burst, then closed",
        one_by_one(
            without_message(Pingreq(), Pingresp),
            without_message(Puback(1), Pubcomp),
            without_message(Pubrel(1), Pubcomp),
            without_message(Publish(TOPIC, b"{}", 2, packet_id=7), Pubrec),
        ),
        lines=4 * 3 * (PER_DEVICE + 1),
    ),
    Case(
        "floods: JSON bombs",
        "dropped, and counted; one line in the log",
        bombs,
        lines=2 * (PER_DEVICE + 2),
    ),
    Case(
        "floods: JSON bombs by many devices at once",
        "dropped; the canary does not wait for long",
        many_bombs,
        lines=10 * (PER_DEVICE + 2),
    ),
)
