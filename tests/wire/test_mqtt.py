"""Framing, limits and life of the decoder; every packet type both ways."""

from __future__ import annotations

import gc
import sys
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from tests.wire.mqtt_examples import EXAMPLES, MAX_PAYLOAD, bytewise, outcome
from xzgw.wire import mqtt
from xzgw.wire.mqtt import Decoder, MqttError, encode, unavailable
from xzgw.wire.packets import Connack, Connect, Pingreq, Pingresp, Puback, Publish


class ExampleTests(SynchronousTestCase):
    """The table of packets and bytes."""

    def test_encode(self) -> None:
        """Each packet becomes its bytes."""
        for packet, wire in EXAMPLES:
            self.assertEqual(encode(packet), wire, packet)

    def test_whole(self) -> None:
        """Each packet's bytes in one chunk yield the packet."""
        for packet, wire in EXAMPLES:
            self.assertEqual(outcome([wire]), ([packet], None, None))

    def test_bytewise(self) -> None:
        """Each packet's bytes one by one yield the packet with the last byte, not before."""
        for packet, wire in EXAMPLES:
            decoder = Decoder(MAX_PAYLOAD)
            self.assertEqual(outcome(bytewise(wire[:-1]), decoder), ([], None, None))
            self.assertEqual(outcome([wire[-1:]], decoder), ([packet], None, None))

    def test_followed(self) -> None:
        """The first bytes of the next packet wait for their rest."""
        for packet, wire in EXAMPLES:
            for cut in (1, 2, 3):
                decoder = Decoder(MAX_PAYLOAD)
                following = encode(Puback(7))
                self.assertEqual(list(decoder.feed(wire + following[:cut])), [packet])
                self.assertEqual(list(decoder.feed(following[cut:])), [Puback(7)])

    def test_all_in_one_chunk(self) -> None:
        """A chunk may hold any number of packets."""
        wire = b"".join(wire for _, wire in EXAMPLES)
        self.assertEqual(outcome([wire]), ([packet for packet, _ in EXAMPLES], None, None))


class FixedHeaderTests(SynchronousTestCase):
    """Type, flags and remaining length, before any body has come."""

    def assert_refused(self, wire: bytes, reason: str) -> None:
        """The last byte, and no byte before it, makes the decoder refuse."""
        self.assertEqual(outcome([wire[:-1]]), ([], None, None))
        for chunks in ([wire], bytewise(wire), [wire + b"\0" * 9]):
            self.assertEqual(outcome(chunks), ([], reason, None))

    def test_reserved_types(self) -> None:
        """Types 0 and 15 do not exist."""
        self.assert_refused(b"\x00", "MQTT-4.8.0-1: packet type 0 is reserved")
        self.assert_refused(b"\xf0", "MQTT-4.8.0-1: packet type 15 is reserved")

    def test_flags(self) -> None:
        """MQTT-2.2.2-1, -2, also -3.6.1-1, -3.8.1-1, -3.10.1-1, -3.14.1-1: only a type's own
        flags pass, and the first byte alone tells."""
        proper = {wire[0] for packet, wire in EXAMPLES if not isinstance(packet, Publish)}
        for first in range(0x10, 0xF0):
            if first >> 4 != 3 and first not in proper:
                packets, reason, _ = outcome([bytes((first,))])
                self.assertEqual((packets, str(reason)[:12]), ([], "MQTT-2.2.2-2"), hex(first))
        self.assertEqual(len(proper), 13)

    def test_publish_flags(self) -> None:
        """MQTT-3.3.1-4: no QoS 3; MQTT-3.3.1-2: no DUP at QoS 0."""
        for first in (0x36, 0x37, 0x3E, 0x3F):
            self.assert_refused(bytes((first,)), "MQTT-3.3.1-4: PUBLISH with QoS 3")
        for first in (0x38, 0x39):
            self.assert_refused(bytes((first,)), "MQTT-3.3.1-2: PUBLISH with DUP at QoS 0")

    def test_long_forms(self) -> None:
        """Up to four length bytes are legal, even where fewer would do."""
        for length in (b"\x03", b"\x83\x00", b"\x83\x80\x00", b"\x83\x80\x80\x00"):
            wire = b"\x30" + length + b"\x00\x01t"
            for chunks in ([wire], bytewise(wire)):
                self.assertEqual(outcome(chunks), ([Publish("t", b"")], None, None))

    def test_four_byte_lengths(self) -> None:
        """A length that needs four bytes is read right."""
        wire = b"\x30\x80\x80\x80\x01\x00\x01t" + bytes(0x200000 - 3)
        expected = [Publish("t", bytes(0x200000 - 3))]
        self.assertEqual(list(Decoder(0x200000).feed(wire)), expected)

    def test_fifth_length_byte(self) -> None:
        """A fourth length byte that announces a fifth is refused."""
        for length in (b"\x80\x80\x80\x80", b"\xff\xff\xff\xff"):
            self.assert_refused(
                b"\x30" + length, "MQTT-4.8.0-1: remaining length of more than four bytes"
            )

    def test_fixed_sizes(self) -> None:
        """Acks have exactly two bytes, the bare packets none; the length alone tells."""
        for first, name in (
            (0x20, "CONNACK"),
            (0x40, "PUBACK"),
            (0x50, "PUBREC"),
            (0x62, "PUBREL"),
            (0x70, "PUBCOMP"),
            (0xB0, "UNSUBACK"),
        ):
            for length in (0, 1, 3, 127):
                reason = f"MQTT-4.8.0-1: {name} of {length} bytes, not 2"
                self.assert_refused(bytes((first, length)), reason)
        for first, name in ((0xC0, "PINGREQ"), (0xD0, "PINGRESP"), (0xE0, "DISCONNECT")):
            self.assert_refused(bytes((first, 1)), f"MQTT-4.8.0-1: {name} of 1 bytes, not 0")

    def test_bounded_sizes(self) -> None:
        """CONNECT and the lists of filters are bounded at 16 KiB, and below."""
        for first, name, shortest in (
            (0x10, "CONNECT", 12),
            (0x82, "SUBSCRIBE", 2),
            (0x90, "SUBACK", 3),
            (0xA2, "UNSUBSCRIBE", 2),
        ):
            reason = f"MQTT-4.8.0-1: {name} of {{}} bytes, not {shortest} to 16384"
            self.assert_refused(bytes((first, 0x81, 0x80, 0x01)), reason.format(16385))
            self.assert_refused(bytes((first, shortest - 1)), reason.format(shortest - 1))
            for length in (bytes((shortest,)), b"\x80\x80\x01"):
                self.assertEqual(outcome([bytes((first,)) + length]), ([], None, None))


class PayloadLimitTests(SynchronousTestCase):
    """max_payload bounds the payload of a PUBLISH and nothing else."""

    def test_exact(self) -> None:
        """One byte over the limit is refused once the topic's length is known, at any QoS."""
        for wire in (b"\x30\x0e\x00\x01", b"\x32\x10\x00\x01", b"\x34\x12\x00\x03"):
            reason = "PUBLISH payload of 11 bytes exceeds max_mqtt_payload_size of 10 bytes"
            for chunks in ([wire], bytewise(wire)):
                self.assertEqual(outcome(chunks, Decoder(10)), ([], reason, None))
            self.assertEqual(outcome([wire[:-1]], Decoder(10)), ([], None, None))

    def test_topic_not_counted(self) -> None:
        """A long topic takes nothing from the payload's share."""
        for qos, packet_id in ((0, 0), (1, 9)):
            packet = Publish("t" * 99, bytes(10), qos, packet_id=packet_id)
            self.assertEqual(list(Decoder(10).feed(encode(packet))), [packet])
            with self.assertRaises(MqttError):
                list(Decoder(9).feed(encode(packet)))

    def test_hopeless(self) -> None:
        """A length that no topic could excuse is refused before the topic's length has come."""
        most = Decoder(1)  # 1 + 65,535 + 4 = 0x10004
        self.assertEqual(outcome([b"\x32\x84\x80\x04"], most), ([], None, None))
        reason = "PUBLISH of 65541 bytes exceeds max_mqtt_payload_size of 1 bytes"
        self.assertEqual(outcome([b"\x32\x85\x80\x04"], Decoder(1)), ([], reason, None))

    def test_too_short(self) -> None:
        """A PUBLISH that cannot hold its topic and id is refused once that is known."""
        for wire in (b"\x30\x02\x00\x01", b"\x30\x05\xff\xff", b"\x32\x04\x00\x01"):
            reason = "MQTT-4.8.0-1: PUBLISH shorter than its fields"
            self.assertEqual(outcome([wire]), ([], reason, None))
        reason = "MQTT-4.8.0-1: PUBLISH of 1 bytes, not 2 to 73731"
        self.assertEqual(outcome([b"\x30\x01"]), ([], reason, None))


class LifeTests(SynchronousTestCase):
    """State between calls."""

    def test_packets_before_an_error(self) -> None:
        """What was complete before the fault is yielded first."""
        packets, reason, _ = outcome([b"\xc0\x00\xd0\x00\xc1\x00\xc0\x00"])
        self.assertEqual(packets, [Pingreq(), Pingresp()])
        self.assertEqual(reason, "MQTT-2.2.2-2: PINGREQ with flags 1, not 0")

    def test_stays_failed(self) -> None:
        """After an error every call fails for the same reason, whatever comes."""
        decoder = Decoder(MAX_PAYLOAD)
        with self.assertRaises(MqttError) as first:
            list(decoder.feed(b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x00\x00\x00"))
        self.assertEqual(first.exception.return_code, 1)
        for data in (b"", b"\xc0\x00"):
            with self.assertRaises(MqttError) as later:
                list(decoder.feed(data))
            self.assertEqual(str(later.exception), str(first.exception))
            self.assertEqual(later.exception.return_code, 1)

    def test_idle_is_small(self) -> None:
        """Between packets a decoder holds no buffer, and after an error neither."""
        idle, failed = Decoder(MAX_PAYLOAD), Decoder(MAX_PAYLOAD)
        wire = encode(Publish("t", bytes(8000)))
        self.assertEqual(len(outcome([wire[:4000], wire[4000:]], idle)[0]), 1)
        self.assertIn("MQTT-4.7.3-1", str(outcome([b"\x30\xc0\x3e\0", bytes(7999)], failed)[1]))
        for decoder in (idle, failed):
            self.assertFalse(hasattr(decoder, "__dict__"))
            held = [thing for thing in gc.get_referents(decoder) if thing is not Decoder]
            self.assertNotIn(bytearray, map(type, held))
            self.assertLess(sum(map(sys.getsizeof, [decoder, *held])), 400)

    def test_looks_only_when_it_pays(self) -> None:
        """Byte by byte, the number of looks at a packet does not depend on its length."""
        self.assertEqual(self.looks(200), self.looks(8000))

    def looks(self, size: int) -> int:
        """How many calls within the decoder, feed itself aside, a payload fed bytewise costs."""
        chunks = bytewise(encode(Publish("t", bytes(size))))
        calls: list[str] = []

        def count(frame: FrameType, event: str, _argument: object) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename == mqtt.__file__ and code.co_name != "feed":
                calls.append(code.co_name)

        previous = sys.getprofile()
        sys.setprofile(count)
        try:
            packets, _, _ = outcome(chunks)
        finally:
            sys.setprofile(previous)
        self.assertEqual(len(packets), 1)
        self.assertIn("_frame", calls)
        return len(calls)


class UnavailableTests(SynchronousTestCase):
    """What is told to who finds no room."""

    connect = encode(Connect("a", None, None, 60, True, 4, None))

    def test_connect(self) -> None:
        """CONNACK 3, when the CONNECT is whole, whatever comes after it."""
        for end in range(len(self.connect)):
            self.assertIsNone(unavailable(self.connect[:end]))
        for more in (b"", b"\x00", encode(Pingreq()), b"\xff" * 10):
            self.assertEqual(unavailable(self.connect + more), encode(Connack(3)))

    def test_level(self) -> None:
        """A level that is none of ours is told so."""
        version_5 = self.connect.replace(b"MQTT\x04", b"MQTT\x05")
        self.assertEqual(unavailable(version_5), encode(Connack(1)))

    def test_others(self) -> None:
        """Nothing to what is no CONNECT, or a broken one."""
        broken = self.connect.replace(b"MQTT", b"MQTX")
        for received in (encode(Pingreq()), broken, b"\x00", b"GET / HTTP/1.1\r\n"):
            self.assertEqual(unavailable(received), b"")
