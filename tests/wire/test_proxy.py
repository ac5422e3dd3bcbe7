"""PROXY headers: each example whole, byte by byte and with something after it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.proxy import MAX_V1, MAX_V2, Header, ProxyError, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes((203, 0, 113, 7, 192, 0, 2, 1)) + b"\xc3\x50\x07\x5b"
V4_ENDS = ("203.0.113.7", 50000), ("192.0.2.1", 1883)
V6 = bytes.fromhex("20010db800000000000000000000000720010db8000000000000000000000001")
V6_ENDS = ("2001:db8::7", 50000), ("2001:db8::1", 1883)
MAPPED = bytes.fromhex("00000000000000000000ffffcb00710700000000000000000000ffffc0000201")
PORTS = b"\xc3\x50\x07\x5b"
TLV = b"\x02\x00\x0bexample.org\x03\x00\x04\x12\x34\x56\x78"  # authority, CRC32c


def v2(body: bytes, command: int = 0x21, kind: int = 0x11) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


# Whole headers and the ends that they tell of.
EXAMPLES: tuple[tuple[bytes, tuple[tuple[str, int], tuple[str, int]] | None], ...] = (
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883\r\n", V4_ENDS),
    (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        (("0.0.0.0", 0), ("255.255.255.255", 65535)),
    ),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0:0::1 50000 1883\r\n", V6_ENDS),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:c000:201 50000 1883\r\n", V4_ENDS),
    (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        ((":".join(["ffff"] * 8), 65535),) * 2,
    ),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 whatever this is\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 16) + b"\r\n", None),
    (v2(V4), V4_ENDS),
    (v2(V4 + TLV), V4_ENDS),
    (v2(V6 + PORTS, kind=0x21), V6_ENDS),
    (v2(V6 + PORTS + TLV, kind=0x21), V6_ENDS),
    (v2(MAPPED + PORTS, kind=0x21), V4_ENDS),
    (v2(V4 + bytes(MAX_V2 - 16 - len(V4))), V4_ENDS),
    (v2(b"", command=0x20, kind=0x00), None),  # LOCAL: a health check
    (v2(V4 + TLV, command=0x20), None),
    (v2(b"anything", command=0x20, kind=0xFF), None),
    (v2(b"", kind=0x00), None),  # unspecified
    (v2(V4, kind=0x12), None),  # a datagram
    (v2(V6 + PORTS, kind=0x22), None),
    (v2(bytes(216), kind=0x31), None),  # a UNIX socket
    (v2(bytes(216), kind=0x32), None),
)

# What can never become a header, and the reason.
FAULTS = (
    (b"\x10\x1a\x00\x04MQTT", "no PROXY header"),
    (b"\x16\x03\x01\x02\x00\x01\x00", "no PROXY header"),
    (b"GET / HTTP/1.1\r\n", "no PROXY header"),
    (b"proxy TCP4 203.0.113.7 192.0.2.1 50000 1883\r\n", "no PROXY header"),
    (b"PROXYTCP4", "no PROXY header"),
    (b"\r\n\r\n\x00\r\nQUIT\r", "no PROXY header"),
    (b"PROXY " + b"x" * (MAX_V1 - 6), "longer than 107 bytes"),
    (b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 15) + b"\r\n", "longer than 107 bytes"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883\n", "without CR"),
    (b"PROXY \r\n", "unknown form"),
    (b"PROXY unknown\r\n", "unknown form"),
    (b"PROXY UNKNOWNx\r\n", "unknown form"),
    (b"PROXY UDP4 203.0.113.7 192.0.2.1 50000 1883\r\n", "unknown form"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000\r\n", "unknown form"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 1883 \r\n", "unknown form"),
    (b"PROXY TCP4  203.0.113.7 192.0.2.1 50000 1883\r\n", "unknown form"),
    (b"PROXY TCP4 2001:db8::7 2001:db8::1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP6 203.0.113.7 192.0.2.1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP4 203.0.113 192.0.2.1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP4 203.0.113.007 192.0.2.1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP4 203.0.113.7 localhost 50000 1883\r\n", "bad address"),
    (b"PROXY TCP4 203.0.113.\xb2 192.0.2.1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP6 fe80::1%eth0 2001:db8::1 50000 1883\r\n", "bad address"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 1883\r\n", "bad port"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 01883\r\n", "bad port"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 +5000 1883\r\n", "bad port"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 \r\n", "bad port"),
    (SIGNATURE + b"\x11\x11\x00\x0c", "version 1, command 1"),
    (SIGNATURE + b"\x22\x11\x00\x0c", "version 2, command 2"),
    (SIGNATURE + b"\x21\x11\x0f\xf1", "longer than 4096 bytes"),
    (v2(V4, kind=0x41), "unknown address family 0x41"),
    (v2(V4, kind=0x13), "unknown address family 0x13"),
    (v2(V4[:-1]), "too short for its addresses"),
    (v2(V6, kind=0x21), "too short for its addresses"),
    (v2(b""), "too short for its addresses"),
)

WORDS = (b"PROXY", b" ", b"TCP4", b"TCP6", b"UNKNOWN", b"1.2.3.4", b"::1", b"80", b"\r\n", b"\n")
FIELDS = (SIGNATURE, b"\x21\x11", b"\x20\x00", b"\x00\x0c", b"\x00\x00", V4, b"%", b"\xff")
PIECES = st.sampled_from(WORDS + FIELDS)
JUNK = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(PIECES, st.binary(max_size=3)), max_size=12).map(b"".join),
)


def outcome(data: bytes, sizes: list[int]) -> Header | str | None:
    """What becomes of a connection whose bytes arrive in pieces of these sizes, then singly."""
    at = 0
    for size in [*sizes, *([1] * len(data))]:
        at = min(at + size, len(data))
        try:
            header = parse(data[:at])
        except ProxyError as error:
            return str(error)
        if header is not None or at == len(data):
            return header
    return None


class ParseTests(SynchronousTestCase):
    """Both versions."""

    def test_whole(self) -> None:
        """The header alone."""
        for data, ends in EXAMPLES:
            source, destination = ends or (None, None)
            self.assertEqual(parse(data), Header(len(data), source, destination), data)

    def test_bytewise(self) -> None:
        """Not before its last byte, however early it breaks off; nothing at all is a beginning."""
        for data, _ in EXAMPLES:
            for end in range(len(data)):
                self.assertIsNone(parse(data[:end]), data[:end])

    def test_trailing(self) -> None:
        """What follows is not looked at, be it another header."""
        for data, _ in EXAMPLES:
            for more in (b"\x10\x1a\x00\x04MQTT", b"\r\n", data, bytes(5000)):
                self.assertEqual(parse(data + more), parse(data))

    def test_faults(self) -> None:
        """Each is refused with its reason."""
        for data, reason in FAULTS:
            error = self.assertRaises(ProxyError, parse, data)
            self.assertIn(reason, str(error), data)

    def test_early(self) -> None:
        """The first byte that fits no header is enough."""
        for data in (b"\x10", b"P\x10", b"PROXy", b"\r\r", b"\r\n\r\n\x00\r\nQUIT\r"):
            self.assertIsNone(parse(data[:-1]))
            self.assertRaises(ProxyError, parse, data)

    @settings(derandomize=True, deadline=None)
    @given(
        st.sampled_from([data for data, _ in EXAMPLES]) | st.sampled_from([d for d, _ in FAULTS]),
        st.binary(max_size=20),
        st.lists(st.integers(1, 60), max_size=8),
    )
    def test_segmentation(self, data: bytes, more: bytes, sizes: list[int]) -> None:
        """In whatever pieces it arrives, the outcome is the same."""
        self.assertEqual(outcome(data + more, sizes), outcome(data + more, []))

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(JUNK)
    @example(b"")
    @example(SIGNATURE * 2)
    def test_junk(self, data: bytes) -> None:
        """Anything else raises ProxyError alone; a header is no longer than what there is."""
        try:
            header = parse(data)
        except ProxyError:
            return
        self.assertTrue(header is None or 15 <= header.size <= len(data))

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=MAX_V2 + 200), st.sampled_from([b"PROXY ", SIGNATURE + b"\x21\x11"]))
    def test_bounded(self, data: bytes, start: bytes) -> None:
        """Nobody has to keep more than MAX_V2 bytes to find out."""
        data = start + data + bytes(MAX_V2)
        self.assertNotEqual(outcome(data[:MAX_V2], [MAX_V2]), None)
