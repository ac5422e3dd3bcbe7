"""MQTT packets with their bytes, written down from the specification, and what tests share."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.mqtt import Decoder, MqttError
from xzgw.wire.packets import (
    Connack,
    Connect,
    Disconnect,
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
    Unsuback,
    Unsubscribe,
    Will,
)

MAX_PAYLOAD = 8192

EXAMPLES: list[tuple[Packet, bytes]] = [
    (
        Connect("c", None, None, 240, True, 4, None),
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\xf0\x00\x01c",
    ),
    (
        Connect("", None, None, 0, True, 4, None),
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
    ),
    (
        Connect("G@@@a0_85", "us\u00e9r", b"\x00\xff", 0xFFFF, False, 4, None),
        b"\x10\x20\x00\x04MQTT\x04\xc0\xff\xff\x00\x09G@@@a0_85\x00\x05us\xc3\xa9r\x00\x02\x00\xff",
    ),
    (
        Connect("c", "", b"", 60, False, 4, None),
        b"\x10\x11\x00\x04MQTT\x04\xc0\x00\x3c\x00\x01c\x00\x00\x00\x00",
    ),
    (
        Connect("c", "u", None, 60, False, 3, None),
        b"\x10\x12\x00\x06MQIsdp\x03\x80\x00\x3c\x00\x01c\x00\x01u",
    ),
    (
        Connect("c", None, None, 60, True, 4, Will("w/t", b"\x00gone", 1, True)),
        b"\x10\x19\x00\x04MQTT\x04\x2e\x00\x3c\x00\x01c\x00\x03w/t\x00\x05\x00gone",
    ),
    (
        Connect("c", "u", b"p", 60, True, 3, Will("w", b"", 2, False)),
        b"\x10\x1a\x00\x06MQIsdp\x03\xd6\x00\x3c\x00\x01c\x00\x01w\x00\x00\x00\x01u\x00\x01p",
    ),
    (Connack(0), b"\x20\x02\x00\x00"),
    (Connack(0, session_present=True), b"\x20\x02\x01\x00"),
    (Connack(5), b"\x20\x02\x00\x05"),
    (
        Publish("device-server", b'{"type":"hello"}'),
        b'\x30\x1f\x00\x0ddevice-server{"type":"hello"}',
    ),
    (Publish("t", b""), b"\x30\x03\x00\x01t"),
    (Publish("\ufefft", b"x"), b"\x30\x07\x00\x04\xef\xbb\xbftx"),  # MQTT-1.5.3-3
    (Publish("/", b"x", retain=True), b"\x31\x04\x00\x01/x"),
    (Publish("t", b"x", 1, packet_id=10), b"\x32\x06\x00\x01t\x00\x0ax"),
    (Publish("t", b"", 1, dup=True, packet_id=0xFFFF), b"\x3a\x05\x00\x01t\xff\xff"),
    (
        Publish("t", b"\xff\x00", 2, retain=True, packet_id=256),
        b"\x35\x07\x00\x01t\x01\x00\xff\x00",
    ),
    (Publish("t", bytes(124)), b"\x30\x7f\x00\x01t" + bytes(124)),
    (Publish("t", bytes(125)), b"\x30\x80\x01\x00\x01t" + bytes(125)),
    (Publish("t", bytes(MAX_PAYLOAD)), b"\x30\x83\x40\x00\x01t" + bytes(MAX_PAYLOAD)),
    (
        Publish("t" * 0xFFFF, bytes(MAX_PAYLOAD), 1, packet_id=1),
        b"\x32\x83\xc0\x04\xff\xff" + b"t" * 0xFFFF + b"\x00\x01" + bytes(MAX_PAYLOAD),
    ),
    (Puback(1), b"\x40\x02\x00\x01"),
    (Pubrec(0x1234), b"\x50\x02\x12\x34"),
    (Pubrel(2), b"\x62\x02\x00\x02"),
    (Pubcomp(0xFFFF), b"\x70\x02\xff\xff"),
    (Subscribe(1, (("null", 0),)), b"\x82\x09\x00\x01\x00\x04null\x00"),
    (
        Subscribe(2, (("#", 1), ("a/+/b", 2), ("/#", 0), ("+", 0), ("+/+/#", 0))),
        b"\x82\x1f\x00\x02\x00\x01#\x01\x00\x05a/+/b\x02\x00\x02/#\x00\x00\x01+\x00\x00\x05+/+/#\x00",
    ),
    (Suback(1, (0,)), b"\x90\x03\x00\x01\x00"),
    (Suback(2, (0, 1, 2, 128)), b"\x90\x06\x00\x02\x00\x01\x02\x80"),
    (Unsubscribe(3, ("a",)), b"\xa2\x05\x00\x03\x00\x01a"),
    (Unsubscribe(4, ("a/#", "\u5c0f")), b"\xa2\x0c\x00\x04\x00\x03a/#\x00\x03\xe5\xb0\x8f"),
    (Unsuback(5), b"\xb0\x02\x00\x05"),
    (Pingreq(), b"\xc0\x00"),
    (Pingresp(), b"\xd0\x00"),
    (Disconnect(), b"\xe0\x00"),
]

Outcome = tuple[list[Packet], str | None, int | None]


def outcome(chunks: Iterable[bytes], decoder: Decoder | None = None) -> Outcome:
    """What a decoder makes of these chunks: packets, then reason and return code of a refusal."""
    decoder = decoder or Decoder(MAX_PAYLOAD)
    packets: list[Packet] = []
    try:
        for chunk in chunks:
            packets.extend(decoder.feed(chunk))  # extend keeps what came before an error
    except MqttError as error:
        return packets, str(error), error.return_code
    return packets, None, None


def bytewise(wire: bytes) -> list[bytes]:
    """The same bytes, one a chunk."""
    return [wire[index : index + 1] for index in range(len(wire))]


NAME, OLD_NAME = b"\x00\x04MQTT\x04", b"\x00\x06MQIsdp\x03"  # with their levels
CLEAN, WILL, PASSWORD, USERNAME = 0x02, 0x04, 0x40, 0x80


def connect(flags: int, fields: bytes, name: bytes = NAME) -> bytes:
    """A CONNECT packet; `fields` is all that follows the keep-alive."""
    body = name + bytes((flags, 0, 60)) + fields
    return bytes((0x10, len(body))) + body


def publish(topic: bytes, first: int = 0x30) -> bytes:
    """A PUBLISH with id 1, if it has one, and no payload."""
    body = bytes((0, len(topic))) + topic + (b"\x00\x01" if first & 6 else b"")
    return bytes((first, len(body))) + body


def listing(first: int, *topics: bytes) -> bytes:
    """A SUBSCRIBE asking for QoS 0, or an UNSUBSCRIBE."""
    qos = b"\x00" if first == 0x82 else b""
    body = b"\x00\x01" + b"".join(bytes((0, len(topic))) + topic + qos for topic in topics)
    return bytes((first, len(body))) + body


class RuleTests(SynchronousTestCase):
    """Shared checks."""

    def assert_refused(self, wire: bytes, clause: str, return_code: int | None = None) -> None:
        """Whole or bytewise, the reason begins with the clause."""
        for chunks in ([wire], bytewise(wire)):
            packets, reason, code = outcome(chunks)
            self.assertEqual((packets, code), ([], return_code), reason)
            self.assertEqual(str(reason)[: len(clause) + 1], clause + ":", wire)
            self.assertNotIn("\n", str(reason))

    def assert_read(self, wire: bytes, packet: Packet) -> None:
        """The bytes are this packet."""
        self.assertEqual(outcome([wire]), ([packet], None, None))
