"""Capture files, against the RFCs byte by byte."""

from __future__ import annotations

from ipaddress import ip_address
from struct import unpack

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.pcap import (
    CLOCK,
    FILE_HEADER,
    MAX_PAYLOAD,
    Address,
    RtpClock,
    announcement,
    packet,
    rtp,
)

fast = settings(derandomize=True, deadline=None)
DEVICE: Address = ("192.0.2.7", 40000)
GATEWAY: Address = ("198.51.100.1", 8884)
DEVICE_6: Address = ("2001:db8::7", 40000)
GATEWAY_6: Address = ("2001:db8::1", 8884)
FRAME = 60_000  # microseconds
TICKS = 2880  # of CLOCK, a frame


def ones_sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def body(record: bytes) -> bytes:
    """The packet in a record that is whole."""
    _, _, kept, size = unpack(">IIII", record[:16])
    assert kept == len(record) - 16
    assert kept == size
    return record[16:]


class FileTests(SynchronousTestCase):
    """The file, and the heads of its records."""

    def test_header(self) -> None:
        """Magic, version 2.4, UTC, no accuracy, snap length, LINKTYPE_RAW."""
        expected = "a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000065"
        self.assertEqual(FILE_HEADER, bytes.fromhex(expected))

    def test_time(self) -> None:
        """Seconds and microseconds, which round up into the next second."""
        for at, expected in ((5.25, (5, 250_000)), (5.9999999, (6, 0))):
            self.assertEqual(unpack(">II", packet(at, DEVICE, GATEWAY, b"", 0)[:8]), expected)

    def test_cut(self) -> None:
        """What is not there is counted: in the record's own size, and in both headers."""
        record = packet(0, DEVICE, GATEWAY, bytes(16), 200)
        self.assertEqual(unpack(">II", record[8:16]), (44, 228))
        self.assertEqual(unpack(">H", record[18:20]), (228,))
        udp = record[36:44]
        self.assertEqual(unpack(">4H", udp), (40000, 8884, 208, 0))  # without a checksum


class PacketTests(SynchronousTestCase):
    """IP and UDP."""

    def test_ipv4(self) -> None:
        """RFC 791, a header of 20 bytes whose checksum adds up; then UDP."""
        data = body(packet(0, DEVICE, GATEWAY, b"abc", 3))
        self.assertEqual(data[:10], bytes.fromhex("45000 01f 0000 4000 40 11".replace(" ", "")))
        self.assertEqual(ones_sum(data[:20]), 0xFFFF)
        self.assertEqual(data[12:20], bytes([192, 0, 2, 7, 198, 51, 100, 1]))
        self.assertEqual(unpack(">3H", data[20:26]), (40000, 8884, 11))
        self.assertEqual(data[28:], b"abc")
        self.assertEqual(ones_sum(data[12:20] + bytes([0, 17, 0, 11]) + data[20:]), 0xFFFF)

    def test_ipv6(self) -> None:
        """RFC 8200, and the pseudo header of its section 8.1."""
        data = body(packet(0, DEVICE_6, GATEWAY_6, b"abc", 3))
        self.assertEqual(data[:8], bytes.fromhex("60000000 000b 11 40".replace(" ", "")))
        self.assertEqual(data[8:24], ip_address(DEVICE_6[0]).packed)
        self.assertEqual(data[24:40], ip_address(GATEWAY_6[0]).packed)
        pseudo = data[8:40] + (11).to_bytes(4, "big") + (17).to_bytes(4, "big")
        self.assertEqual(ones_sum(pseudo + data[40:]), 0xFFFF)

    @fast
    @given(st.binary(max_size=300), st.integers(0, 0xFFFF))
    def test_checksums(self, payload: bytes, port: int) -> None:
        """They add up for anything, and none is 0, which would mean that there is none."""
        data = body(packet(0, (DEVICE[0], port), GATEWAY, payload, len(payload)))
        size = (8 + len(payload)).to_bytes(2, "big")
        self.assertEqual(ones_sum(data[12:20] + b"\0\x11" + size + data[20:]), 0xFFFF)
        self.assertEqual(ones_sum(data[:20]), 0xFFFF)
        self.assertNotEqual(data[26:28], b"\0\0")

    def test_two_families(self) -> None:
        """IPv4 goes as IPv6, mapped; what is no address is the one that means none."""
        mapped = ip_address("::ffff:192.0.2.7").packed
        for one, other, expected in (
            (DEVICE, GATEWAY_6, mapped + ip_address(GATEWAY_6[0]).packed),
            (GATEWAY_6, DEVICE, ip_address(GATEWAY_6[0]).packed + mapped),
            (("", 1), DEVICE_6, bytes(16) + ip_address(DEVICE_6[0]).packed),
        ):
            self.assertEqual(body(packet(0, one, other, b"", 0))[8:40], expected)
        for one, other in ((("gateway.example", 1), DEVICE), (("", 1), DEVICE)):
            sent = body(packet(0, one, other, b"", 0))
            self.assertEqual(sent[12:20], bytes([0, 0, 0, 0, 192, 0, 2, 7]))
        self.assertEqual(body(packet(0, ("", 1), ("", 1), b"", 0))[12:20], bytes(8))

    def test_largest(self) -> None:
        """Either family can carry the largest payload."""
        for ends in ((DEVICE, GATEWAY), (DEVICE_6, GATEWAY_6)):
            data = body(packet(0, *ends, bytes(MAX_PAYLOAD), MAX_PAYLOAD))
            self.assertTrue(data.endswith(bytes(MAX_PAYLOAD)))


class RtpTests(SynchronousTestCase):
    """RFC 3550 section 5.1"""

    def test_packet(self) -> None:
        """Version 2, payload type 96, and the marker beside it."""
        sent = rtp(0x12345, 0x1_0000_0002, 0x01020304, b"opus", marker=False)
        self.assertEqual(sent, bytes.fromhex("8060 2345 00000002 01020304") + b"opus")
        self.assertEqual(rtp(1, 2, 3, b"", marker=True)[:2], b"\x80\xe0")

    def test_announcement(self) -> None:
        """RFC 2974 section 3 around RFC 8866: who receives what where."""
        sent = announcement(DEVICE, GATEWAY, 0x01020304)
        self.assertEqual(sent[:8], bytes.fromhex("20 00 0304 c0000207"))
        kind, _, description = sent[8:].partition(b"\0")
        self.assertEqual(kind, b"application/sdp")
        expected = [
            "v=0",
            "o=- 16909060 0 IN IP4 192.0.2.7",
            "s=xzgw",
            "c=IN IP4 198.51.100.1",
            "t=0 0",
            "m=audio 8884 RTP/AVP 96",
            "a=rtpmap:96 opus/48000/2",
        ]
        self.assertEqual(description.decode().split("\r\n"), [*expected, ""])

    def test_announcement_ipv6(self) -> None:
        """The source is longer, and says so; an IPv4 address is mapped as in the packets."""
        sent = announcement(DEVICE, GATEWAY_6, 1)
        self.assertEqual(sent[0], 0x30)
        self.assertEqual(sent[4:20], ip_address("::ffff:192.0.2.7").packed)
        self.assertIn(b"c=IN IP6 2001:db8::1\r\n", sent)

    def test_clock(self) -> None:
        """Steady through a burst and through losses, whenever packets come."""
        clock = RtpClock()
        stamps = [
            clock.next(at, sequence, FRAME)
            for at, sequence in ((100.0, 1), (100.001, 2), (100.002, 3), (100.4, 6))
        ]
        self.assertEqual(
            stamps, [(0, True), (TICKS, False), (2 * TICKS, False), (5 * TICKS, False)]
        )

    def test_pause(self) -> None:
        """After a pause, or a jump, the time of arrival counts: speech begins anew."""
        clock = RtpClock()
        clock.next(100.0, 1, FRAME)
        self.assertEqual(clock.next(102.0, 2, FRAME), (2 * CLOCK, True))
        self.assertEqual(clock.next(102.06, 3, FRAME), (2 * CLOCK + TICKS, False))
        self.assertEqual(clock.next(102.12, 70_000, FRAME), (2 * CLOCK + 2 * TICKS, True))

    def test_never_back(self) -> None:
        """A pause shorter than what is still to be played does not turn time back."""
        clock = RtpClock()
        stamps = [clock.next(0.0, sequence, FRAME)[0] for sequence in range(1, 41)]
        self.assertEqual(clock.next(0.6, 41, FRAME), (stamps[-1] + TICKS, True))
