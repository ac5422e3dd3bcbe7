"""The rules of each packet type, by the names of their clauses."""

from __future__ import annotations

from tests.wire.mqtt_examples import (
    CLEAN,
    NAME,
    OLD_NAME,
    PASSWORD,
    USERNAME,
    WILL,
    RuleTests,
    connect,
    outcome,
)
from xzgw.wire.mqtt import Decoder
from xzgw.wire.packets import (
    Connect,
    Packet,
    Pubrel,
    Subscribe,
    Unsubscribe,
    Will,
)


class ConnectTests(RuleTests):
    """CONNECT."""

    def test_protocol_name(self) -> None:
        """MQTT-3.1.2-1: any other name is refused without a CONNACK, and shown in short."""
        for name in (
            b"\0\4mqtt\4",
            b"\0\5MQTT5\4",
            b"\0\6MQISDP\3",
            b"\0\0\0\0\0\0",
            b"\0\3\xff\nM\4",
        ):
            self.assert_refused(connect(CLEAN, b"\0\1c", name), "MQTT-3.1.2-1")
        _, reason, _ = outcome([connect(CLEAN, b"", b"\0\x50" + b"x" * 80)])
        self.assertEqual(reason, f"MQTT-3.1.2-1: protocol name {b'x' * 16!r}, not MQTT or MQIsdp")

    def test_protocol_level(self) -> None:
        """MQTT-3.1.2-2: an unknown level gets return code 1, whatever follows it."""
        for name in (
            b"\0\4MQTT\5",
            b"\0\4MQTT\3",
            b"\0\4MQTT\x84",
            b"\0\6MQIsdp\4",
            b"\0\6MQIsdp\0",
        ):
            self.assert_refused(connect(CLEAN, b"\0\1c", name), "MQTT-3.1.2-2", 1)
            self.assert_refused(connect(0xFF, b"", name + b"\xff\xff"), "MQTT-3.1.2-2", 1)

    def test_reserved_flag(self) -> None:
        """MQTT-3.1.2-3: the lowest flag is 0."""
        for name in (NAME, OLD_NAME):
            self.assert_refused(connect(CLEAN | 1, b"\0\1c", name), "MQTT-3.1.2-3")

    def test_flags_without_will(self) -> None:
        """MQTT-3.1.2-11, -13, -15: without a will its QoS and retain are 0, or, in 3.1, nothing."""
        for flags, clause in ((0x08, 13), (0x10, 13), (0x18, 13), (0x28, 13), (0x20, 15)):
            self.assert_refused(connect(CLEAN | flags, b"\0\1c"), f"MQTT-3.1.2-{clause}")
            self.assert_read(
                connect(CLEAN | flags, b"\0\1c", OLD_NAME),
                Connect("c", None, None, 60, True, 3, None),
            )

    def test_will_qos(self) -> None:
        """MQTT-3.1.2-14: a will's QoS is not 3."""
        for name in (NAME, OLD_NAME):
            wire = connect(CLEAN | WILL | 0x18, b"\0\1c\0\1w\0\0", name)
            self.assert_refused(wire, "MQTT-3.1.2-14")

    def test_will(self) -> None:
        """A will's message is bytes of any kind."""
        self.assert_read(
            connect(CLEAN | WILL | 0x10, b"\0\1c\0\1w\0\2\xff\0"),
            Connect("c", None, None, 60, True, 4, Will("w", b"\xff\0", 2, False)),
        )

    def test_announced_fields(self) -> None:
        """MQTT-3.1.2-19, -21: what a flag announces must be there."""
        self.assert_refused(connect(CLEAN | USERNAME, b"\0\1c"), "MQTT-3.1.2-19")
        self.assert_refused(connect(CLEAN | USERNAME | PASSWORD, b"\0\1c\0\1u"), "MQTT-3.1.2-21")
        self.assert_refused(connect(CLEAN | WILL, b"\0\1c"), "MQTT-4.8.0-1")

    def test_announced_fields_in_3_1(self) -> None:
        """In 3.1 the packet's length decides whether user name and password are there."""
        for fields, username in ((b"\0\1c", None), (b"\0\1c\0\1u", "u")):
            self.assert_read(
                connect(CLEAN | USERNAME | PASSWORD, fields, OLD_NAME),
                Connect("c", username, None, 60, True, 3, None),
            )

    def test_unannounced_fields(self) -> None:
        """MQTT-3.1.2-18, -20: nothing follows what the flags announce."""
        clauses = "MQTT-3.1.2-18, MQTT-3.1.2-20"
        for name in (NAME, OLD_NAME):
            self.assert_refused(connect(CLEAN, b"\0\1c\0\1u", name), clauses)
            self.assert_refused(connect(CLEAN | USERNAME, b"\0\1c\0\1u\0\1p", name), clauses)
            self.assert_refused(connect(CLEAN, b"\0\1c\0", name), clauses)

    def test_password_alone(self) -> None:
        """MQTT-3.1.2-22: no password without a user name."""
        for name in (NAME, OLD_NAME):
            self.assert_refused(connect(CLEAN | PASSWORD, b"\0\1c\0\1p", name), "MQTT-3.1.2-22")

    def test_empty_client_id(self) -> None:
        """MQTT-3.1.3-8: without a client id and clean session the return code is 2; the same in
        3.1, which knows no empty client ids."""
        self.assert_refused(connect(0, b"\0\0"), "MQTT-3.1.3-8", 2)
        self.assert_refused(connect(CLEAN, b"\0\0", OLD_NAME), "MQTT-3.1.3-8", 2)
        self.assert_read(connect(CLEAN, b"\0\0"), Connect("", None, None, 60, True, 4, None))
        self.assert_refused(connect(0, b"\0\0\0"), "MQTT-3.1.2-18, MQTT-3.1.2-20")

    def test_short_fields(self) -> None:
        """A field must not run past the end of its packet, whatever bytes follow."""
        for fields in (b"\0\2c", b"\xff\xffcc"):
            self.assert_refused(connect(CLEAN, fields) + b"\xc0\x00", "MQTT-4.8.0-1")
        self.assert_refused(connect(CLEAN | USERNAME, b"\0\1c\0"), "MQTT-4.8.0-1")
        self.assert_refused(b"\x10\x0c\x00\x0aMQTTMQTTMQ", "MQTT-3.1.2-1")
        self.assert_refused(b"\x10\x0c\x00\x0bMQTTMQTTMQ", "MQTT-4.8.0-1")

    def test_password_stays_out_of_logs(self) -> None:
        """The packet's repr leaves the password out."""
        self.assertNotIn("hush", repr(Connect("c", "u", b"hush", 0, True, 4, None)))


class OtherPacketTests(RuleTests):
    """All other packet types."""

    def test_packet_id(self) -> None:
        """MQTT-2.3.1-1: no packet that has an id may say 0."""
        for wire in (b"\x32\x05\0\1t\0\0", b"\x34\x05\0\1t\0\0", b"\x82\x06\0\0\0\1t\0"):
            self.assert_refused(wire, "MQTT-2.3.1-1")
        for wire in (b"\xa2\x05\0\0\0\1t", b"\x90\x03\0\0\0"):
            self.assert_refused(wire, "MQTT-2.3.1-1")
        for first in (0x40, 0x50, 0x62, 0x70, 0xB0):
            self.assert_refused(bytes((first, 2, 0, 0)), "MQTT-2.3.1-1")

    def test_no_filter(self) -> None:
        """MQTT-3.8.3-3, MQTT-3.10.3-2: at least one filter."""
        self.assert_refused(b"\x82\x02\0\1", "MQTT-3.8.3-3")
        self.assert_refused(b"\xa2\x02\0\1", "MQTT-3.10.3-2")

    def test_requested_qos(self) -> None:
        """MQTT-3.8.3-4: QoS 0 to 2, every other bit 0."""
        for qos in (3, 4, 0x40, 0x80, 0xFF):
            self.assert_refused(b"\x82\x0a\0\1\0\1t\0\0\1u" + bytes((qos,)), "MQTT-3.8.3-4")

    def test_short_lists(self) -> None:
        """A list must not end within a filter."""
        for wire in (b"\x82\x05\0\1\0\1t", b"\x82\x07\0\1\0\1t\0\0", b"\xa2\x04\0\1\0\1"):
            self.assert_refused(wire, "MQTT-4.8.0-1")

    def test_connack(self) -> None:
        """MQTT-3.2.2-4: a refusal has no session; reserved values do not pass."""
        self.assert_refused(b"\x20\x02\1\1", "MQTT-3.2.2-4")
        self.assert_refused(b"\x20\x02\2\0", "MQTT-4.8.0-1")
        self.assert_refused(b"\x20\x02\0\6", "MQTT-4.8.0-1")

    def test_suback(self) -> None:
        """MQTT-3.9.3-2: only 0, 1, 2 and 128 are return codes."""
        for code in (3, 127, 129, 255):
            self.assert_refused(b"\x90\x04\0\1\0" + bytes((code,)), "MQTT-3.9.3-2")


class RepeatTests(RuleTests):
    """DUP outside PUBLISH, which 3.1 knows and 3.1.1 does not."""

    repeats: tuple[tuple[bytes, Packet], ...] = (
        (b"\x6a\x02\0\1", Pubrel(1)),
        (b"\x8a\x06\0\1\0\1t\0", Subscribe(1, (("t", 0),))),
        (b"\xaa\x05\0\1\0\1t", Unsubscribe(1, ("t",))),
    )

    def connected(self, name: bytes) -> Decoder:
        """A decoder that has seen a CONNECT."""
        decoder = Decoder(9)
        self.assertEqual(len(list(decoder.feed(connect(CLEAN, b"\0\1c", name)))), 1)
        return decoder

    def test_allowed(self) -> None:
        """After a level 3 CONNECT these three may be marked as repeated."""
        decoder = self.connected(OLD_NAME)
        for wire, packet in self.repeats:
            self.assertEqual(outcome([wire], decoder), ([packet], None, None))

    def test_refused(self) -> None:
        """MQTT-2.2.2-2: before CONNECT and after one of level 4 they may not."""
        for wire, _ in self.repeats:
            self.assert_refused(wire, "MQTT-2.2.2-2")
            _, reason, _ = outcome([wire], self.connected(NAME))
            self.assertIn("MQTT-2.2.2-2", str(reason))

    def test_that_bit_alone(self) -> None:
        """MQTT-2.2.2-2: no other flag and no other type gains anything from level 3."""
        for first in (0x60, 0x63, 0x68, 0x6B, 0x80, 0x88, 0x8B, 0xA8, 0x18, 0x48, 0x4A, 0xC8, 0xE8):
            packets, reason, _ = outcome([bytes((first,))], self.connected(OLD_NAME))
            self.assertEqual((packets, str(reason)[:12]), ([], "MQTT-2.2.2-2"), hex(first))
