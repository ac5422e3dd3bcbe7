"""MQTT packets that are wrong: framing, numbers, order."""

from __future__ import annotations

import socket

from tests.hostile.attack import (
    CROWD,
    PER_DEVICE,
    credentials,
    cut_off,
    framed,
    kept,
    one_by_one,
    refused,
)
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice
from tests.support import KEY
from xzgw.wire.mqtt import encode
from xzgw.wire.mqtt_inbound import MAX_INFLIGHT
from xzgw.wire.packets import (
    Connack,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
)

CONNECT = encode(credentials())
LINES = CROWD * PER_DEVICE
BYTEWISE = 20  # devices
TOPIC = "device-server"


def bytewise(target: Target) -> None:
    """CONNECT, a PUBLISH and a PINGREQ, each byte in a segment of its own."""
    for number in range(BYTEWISE):
        device = RawDevice(target.address, number)
        with device.socket:
            device.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            hello = encode(device.identity.credentials(KEY))
            for byte in hello + encode(Publish(TOPIC, b"{}")) + encode(Pingreq()):
                device.socket.send(bytes((byte,)))
            code = device.next(Connack).return_code
            assert code == 0, f"CONNACK {code}"
            device.next(Pingresp)


FRAMING = (
    Case(
        "framing: reserved packet types",
        "closed",
        one_by_one(refused(b"\x00\x00"), refused(b"\xf0\x00"), cut_off(b"\x00"), cut_off(b"\xf0")),
        lines=2 * CROWD + 2 * LINES,
    ),
    Case(
        "framing: reserved flags",
        "closed",
        one_by_one(
            refused(b"\x11" + CONNECT[1:]),
            *(cut_off(bytes((first, 0)), 10) for first in (0x80, 0x60, 0xA0, 0xC1, 0xE8, 0x41)),
        ),
        lines=CROWD + 60 * PER_DEVICE,
    ),
    Case(
        "framing: remaining length of five bytes",
        "closed before a body comes",
        one_by_one(refused(b"\x10\xff\xff\xff\xff\x01"), cut_off(b"\x30\xff\xff\xff\xff\x01")),
        lines=CROWD + LINES,
    ),
    Case(
        "framing: remaining length of 256 MiB",
        "closed before a body comes",
        one_by_one(refused(b"\x10\xff\xff\xff\x7f"), cut_off(b"\x30\xff\xff\xff\x7f")),
        lines=CROWD + LINES,
    ),
    Case(
        "framing: length that the type cannot have",
        "closed",
        one_by_one(*(cut_off(data, 10) for data in (b"\xc0\x01", b"\x40\x03", b"\xe0\x7f"))),
        lines=30 * PER_DEVICE,
    ),
    Case(
        "framing: fields longer than their packet",
        "closed",
        one_by_one(
            refused(framed(0x10, b"\xff\xffMQTT\x04\x02\x00\x3c\x00\x00")),
            refused(framed(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\xff\xff")),
            cut_off(framed(0x30, b"\xff\xfftopic")),
            cut_off(framed(0x82, b"\x00\x01\xff\xfftopic\x00")),
        ),
        lines=2 * CROWD + 2 * LINES,
    ),
    Case(
        "framing: packets of no length",
        "closed",
        one_by_one(refused(b"\x10\x00"), *(cut_off(bytes((n, 0)), 10) for n in (0x30, 0x82, 0xA2))),
        lines=CROWD + 30 * PER_DEVICE,
    ),
    Case(
        "framing: one byte per segment",
        "read as if it came at once",
        bytewise,
        lines=BYTEWISE * PER_DEVICE,
    ),
    Case(
        "framing: other protocols",
        "closed at their first byte",
        one_by_one(
            refused(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", count=20),
            refused(bytes.fromhex("160301020001000100") + b"\x03" * 200, count=20),
            refused(b"\xff" * 5000, count=20),
        ),
        lines=60,
    ),
)

IDS = (
    Case(
        "ids: packet id 0",
        "closed",
        one_by_one(
            cut_off(framed(0x32, b"\x00\x01a\x00\x00x"), 20),
            cut_off(framed(0x82, b"\x00\x00\x00\x01a\x00"), 20),
            cut_off(Puback(0), 20),
        ),
        lines=60 * PER_DEVICE,
    ),
    Case("ids: QoS 3", "closed", cut_off(framed(0x36, b"\x00\x01a\x00\x01x")), lines=LINES),
    Case(
        "ids: PUBREL for nothing",
        "PUBCOMP, as the specification has it; the connection stays",
        kept(b"".join(encode(Pubrel(n)) for n in range(1, 101)), map(Pubcomp, range(1, 101)), 20),
        lines=20 * PER_DEVICE,
    ),
    Case(
        "ids: acknowledgements of nothing",
        "ignored; the connection stays",
        kept(
            b"".join(encode(kind(n)) for n in range(1, 101) for kind in (Puback, Pubrec, Pubcomp))
        ),
        lines=LINES,
    ),
    Case(
        "ids: QoS 2 never released",
        f"closed at the {MAX_INFLIGHT + 1}th",
        cut_off(
            b"".join(
                encode(Publish(TOPIC, b"{}", 2, packet_id=n)) for n in range(1, MAX_INFLIGHT + 2)
            ),
            2,
            answers=Pubrec,
        ),
        lines=2 * (PER_DEVICE + 2),
    ),
    Case(
        "ids: QoS 2 repeated",
        "PUBREC each time; the connection stays",
        kept(encode(Publish("null", b"{}", 2, packet_id=7)) * 100, [Pubrec(7)] * 100, 5),
        lines=5 * (PER_DEVICE + 1),
    ),
)

ORDER = (
    Case(
        "order: no CONNECT first",
        "closed",
        one_by_one(refused(encode(Publish(TOPIC, b"{}"))), refused(b"\xc0\x00" + CONNECT)),
        lines=2 * CROWD,
    ),
    Case("order: a second CONNECT", "closed", cut_off(CONNECT), lines=LINES),
    Case(
        "order: packets that servers send",
        "closed",
        one_by_one(
            *(cut_off(p, 10) for p in (Connack(0), Suback(1, (0,)), Unsuback(1), Pingresp()))
        ),
        lines=40 * PER_DEVICE,
    ),
    Case(
        "order: bytes after DISCONNECT",
        "not read",
        cut_off(b"\xe0\x00" + encode(Publish(TOPIC, b"{}")) * 100),
        lines=LINES,
    ),
    Case(
        "order: topics that nobody can have",
        "closed",
        one_by_one(
            *(cut_off(Publish(topic, b"{}"), 10) for topic in ("", "#", "a/+/b", "\0")),
            *(cut_off(Subscribe(1, ((name, 0),)), 10) for name in ("", "a#", "#/a", "a+/b")),
        ),
        lines=80 * PER_DEVICE,
    ),
    Case(
        "order: subscribing to others' topics",
        "refused with 128, in the SUBACK",
        kept(
            Subscribe(9, (("#", 0), ("devices/p2p/#", 2), ("devices/p2p/02_00_00_00_ff_ff", 0))),
            [Suback(9, (128, 128, 128))],
        ),
        lines=LINES,
    ),
)

CASES = FRAMING + IDS + ORDER
