"""Opus packets are measured and judged by their framing alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.opus import FRAME_US, SINGLE_US, packet_duration_us

VECTORS = Path(__file__).parent.parent / "vectors"

# TOC bytes, mono, code 0: SILK 60 and 20 ms, CELT 2.5 and 20 ms.
SILK60, SILK20, CELT2, CELT20 = 11 << 3, 9 << 3, 28 << 3, 31 << 3


def framed(toc: int, *rest: bytes | int) -> bytes:
    """A packet: TOC byte, then bytes, or as many zero bytes as a number says."""
    return bytes([toc]) + b"".join(bytes(part) for part in rest)


def coded(length: int) -> bytes:
    """A frame length as RFC 6716 section 3.2.1 writes it."""
    if length < 252:
        return bytes([length])
    return bytes([252 + (length & 3), (length - 252 - (length & 3)) // 4])


# What, packet, microseconds or None.
PACKETS: list[tuple[str, bytes, int | None]] = [
    ("R1: nothing", b"", None),
    ("code 0, empty frame", framed(SILK60), 60_000),
    ("code 0, 20 ms", framed(SILK20, 50), 20_000),
    ("code 0, 2.5 ms", framed(CELT2, 50), 2_500),
    ("R2: code 0, largest", framed(SILK60, 1275), 60_000),
    ("R2: code 0, larger", framed(SILK60, 1276), None),
    ("stereo", framed(SILK60 | 4, 50), None),
    ("stereo in code 3", framed(SILK20 | 4 | 3, b"\x03", 30), None),
    ("code 1, two empty frames", framed(SILK60 | 1), 120_000),
    ("code 1", framed(SILK20 | 1, 50), 40_000),
    ("R3: code 1, odd", framed(SILK20 | 1, 51), None),
    ("R2: code 1, largest", framed(SILK20 | 1, 2550), 40_000),
    ("R2: code 1, larger", framed(SILK20 | 1, 2552), None),
    ("R4: code 2 without a length", framed(SILK20 | 2), None),
    ("R4: code 2, half a length", framed(SILK20 | 2, b"\xfc"), None),
    ("code 2, first frame empty", framed(SILK20 | 2, b"\x00", 7), 40_000),
    ("code 2, second frame empty", framed(SILK20 | 2, b"\x07", 7), 40_000),
    ("R4: code 2, first frame cut", framed(SILK20 | 2, b"\x07", 6), None),
    ("code 2, two-byte length", framed(SILK20 | 2, b"\xfc\x01", 256 + 3), 40_000),
    ("R4: two-byte length cut", framed(SILK20 | 2, b"\xfc\x01", 255), None),
    ("code 2, largest length", framed(SILK20 | 2, b"\xff\xff", 1275), 40_000),
    ("R2: code 2, second largest", framed(SILK20 | 2, b"\x00", 1275), 40_000),
    ("R2: code 2, second larger", framed(SILK20 | 2, b"\x00", 1276), None),
    ("R6: code 3 without a count", framed(SILK20 | 3), None),
    ("R5: code 3, no frames", framed(SILK20 | 3, b"\x00"), None),
    ("R5: no frames, VBR", framed(SILK20 | 3, b"\x80", 5), None),
    ("code 3 CBR, one frame", framed(SILK20 | 3, b"\x01", 9), 20_000),
    ("code 3 CBR, three empty frames", framed(SILK20 | 3, b"\x03"), 60_000),
    ("code 3 CBR", framed(SILK20 | 3, b"\x03", 9), 60_000),
    ("R6: code 3 CBR, uneven", framed(SILK20 | 3, b"\x03", 10), None),
    ("R2: code 3 CBR, largest", framed(CELT20 | 3, b"\x02", 2550), 40_000),
    ("R2: code 3 CBR, larger", framed(CELT20 | 3, b"\x02", 2552), None),
    ("R5: 120 ms", framed(SILK60 | 3, b"\x02"), 120_000),
    ("R5: 180 ms", framed(SILK60 | 3, b"\x03"), None),
    ("R5: 48 frames of 2.5 ms", framed(CELT2 | 3, b"\x30"), 120_000),
    ("R5: 49 frames of 2.5 ms", framed(CELT2 | 3, b"\x31"), None),
    ("code 3 CBR, padded", framed(SILK20 | 3, b"\x43\x04", 6, 4), 60_000),
    ("R6: padding makes it uneven", framed(SILK20 | 3, b"\x43\x04", 6, 5), None),
    ("padding without a length", framed(SILK20 | 3, b"\x43"), None),
    ("all padding", framed(SILK20 | 3, b"\x43\x04", 4), 60_000),
    ("R6: more padding than packet", framed(SILK20 | 3, b"\x43\x04", 3), None),
    ("long padding", framed(SILK20 | 3, b"\x43\xff\x01", 6, 255), 60_000),
    ("long padding cut", framed(SILK20 | 3, b"\x43\xff\x01", 254), None),
    ("padding length that never ends", framed(SILK20 | 3, b"\x43", b"\xff" * 9), None),
    ("R7: never ends, VBR", framed(SILK20 | 3, b"\xc1", b"\xff" * 9), None),
    ("code 3 VBR, one frame", framed(SILK20 | 3, b"\x81", 9), 20_000),
    ("code 3 VBR", framed(SILK20 | 3, b"\x83\x02\x00", 2, 5), 60_000),
    ("R7: VBR without lengths", framed(SILK20 | 3, b"\x83"), None),
    ("R7: VBR, a length missing", framed(SILK20 | 3, b"\x83\x00"), None),
    ("R7: VBR, frames cut", framed(SILK20 | 3, b"\x83\x02\x03", 4), None),
    ("VBR, last frame empty", framed(SILK20 | 3, b"\x83\x02\x03", 5), 60_000),
    ("R2: VBR, last largest", framed(SILK20 | 3, b"\x82\x00", 1275), 40_000),
    ("R2: VBR, last larger", framed(SILK20 | 3, b"\x82\x00", 1276), None),
    ("VBR, padded", framed(SILK20 | 3, b"\xc2\x03\x01", 1, 3), 40_000),
    ("R7: VBR, length inside the padding", framed(SILK20 | 3, b"\xc2\x01\x00"), None),
    ("R7: VBR, frame inside the padding", framed(SILK20 | 3, b"\xc2\x03\x01", 3), None),
]


@st.composite
def variable(draw: st.DrawFn) -> tuple[bytes, int]:
    """A well-formed VBR packet with padding, and its microseconds."""
    toc = draw(st.integers(0, 31)) << 3 | 3
    lengths = draw(st.lists(st.integers(0, 1275), min_size=1, max_size=120_000 // FRAME_US[toc]))
    padding = draw(st.integers(0, 600))
    written = b"\xff" * (padding // 254) + bytes([padding % 254])
    headers = bytes([0xC0 | len(lengths)]) + written + b"".join(coded(n) for n in lengths[:-1])
    return framed(toc, headers, sum(lengths), padding), len(lengths) * FRAME_US[toc]


class OpusTests(SynchronousTestCase):
    """Durations and refusals."""

    def test_packets(self) -> None:
        """Each rule of RFC 6716 section 3.4 holds at its edges."""
        for what, packet, expected in PACKETS:
            self.assertEqual(packet_duration_us(packet), expected, what)

    def test_frame_durations(self) -> None:
        """The 32 configurations last what RFC 6716 table 2 says."""
        silk, hybrid, celt = [10, 20, 40, 60], [10, 20], [2.5, 5, 10, 20]
        expected = silk * 3 + hybrid * 2 + celt * 4
        self.assertEqual([us / 1000 for us in FRAME_US[::8]], expected)

    def test_single_table(self) -> None:
        """The quick table agrees with the whole rule for one frame and knows nothing else."""
        for toc in range(256):
            plain = toc & 7 == 0
            expected = packet_duration_us(bytes([toc, 0])) if plain else 0
            self.assertEqual(SINGLE_US[toc], expected)

    def test_speech(self) -> None:
        """Real speech is 60 ms throughout."""
        packets = json.loads((VECTORS / "speech_opus_16k_60ms.json").read_text())
        self.assertEqual({packet_duration_us(bytes.fromhex(hex_)) for hex_ in packets}, {60_000})
        self.assertEqual(len(packets), 64)

    def test_random(self) -> None:
        """About one random payload in 75 passes for a 60 ms packet."""
        source = random.Random(20)
        tries = 30_000
        passed = sum(
            packet_duration_us(source.randbytes(source.randrange(60, 300))) == 60_000
            for _ in range(tries)
        )
        self.assertTrue(tries / 90 < passed < tries / 62, passed)

    @settings(derandomize=True, deadline=None)
    @given(variable())
    def test_variable(self, packet: tuple[bytes, int]) -> None:
        """Any well-formed VBR packet is measured, padding and two-byte lengths included."""
        wire, expected = packet
        self.assertEqual(packet_duration_us(wire), expected)

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.integers(0, 255), st.binary(max_size=40))
    @example(SILK20 | 3, b"")
    def test_any(self, toc: int, rest: bytes) -> None:
        """Any bytes are measured as whole frames of their TOC up to 120 ms, or refused."""
        duration = packet_duration_us(bytes([toc]) + rest)
        if duration is not None:
            self.assertEqual(toc & 4, 0)
            self.assertEqual(duration % FRAME_US[toc], 0)
            self.assertTrue(0 < duration <= 120_000)
