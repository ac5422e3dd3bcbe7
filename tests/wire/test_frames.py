"""The quick WebSocket frames, against the rules of RFC 6455 and against autobahn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.frames import MAX_PAYLOAD, binary_frame, split_binary

fast = settings(derandomize=True, deadline=None)
SIZES = (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 196, 1500, MAX_PAYLOAD)


def server_frame(message: bytes) -> bytes:
    """As RFC 6455 section 5.2 has it, written without looking at the code under test."""
    size = len(message)
    if size < 126:
        return bytes([0x82, size]) + message
    if size < 65536:
        return bytes([0x82, 126]) + size.to_bytes(2, "big") + message
    return bytes([0x82, 127]) + size.to_bytes(8, "big") + message


def unmask(frame: bytes) -> bytes:
    """The message in a client's frame, read byte by byte."""
    assert frame[0] == 0x82
    assert frame[1] & 0x80
    size, at = frame[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
        assert size > 125
    mask, rest = frame[at : at + 4], frame[at + 4 :]
    assert len(rest) == size
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(rest))


class BinaryFrameTests(SynchronousTestCase):
    """Towards the server."""

    def test_sizes(self) -> None:
        """Every size round the edges is framed in the shortest form and masked."""
        for size in SIZES:
            message = bytes(i & 0xFF for i in range(size))
            self.assertEqual(unmask(binary_frame(message, 0x01020304)), message, size)

    def test_mask_is_used(self) -> None:
        """The mask goes over the wire in front of the payload, and changes it."""
        frame = binary_frame(b"\0\0\0\0\0", 0xA1B2C3D4)
        self.assertEqual(frame, b"\x82\x85\xa1\xb2\xc3\xd4\xa1\xb2\xc3\xd4\xa1")

    @fast
    @given(st.binary(max_size=MAX_PAYLOAD), st.integers(0, 0xFFFFFFFF))
    def test_round_trip(self, message: bytes, mask: int) -> None:
        """Whatever the bytes and the mask, the message is in the frame."""
        self.assertEqual(unmask(binary_frame(message, mask)), message)


class SplitBinaryTests(SynchronousTestCase):
    """From the server."""

    def test_sizes(self) -> None:
        """Whole frames are taken, one or several."""
        messages = [bytes([size & 0xFF]) * size for size in SIZES if size > 1] + [b"x" * 65535]
        data = b"".join(map(server_frame, messages))
        self.assertEqual(split_binary(data), (messages, len(data)))

    def test_tiny(self) -> None:
        """A frame at the very end that is shorter than four bytes is left to autobahn."""
        for message in (b"", b"a"):
            data = server_frame(message)
            self.assertEqual(split_binary(data), ([], 0))
            self.assertEqual(split_binary(data + data)[1] % len(data), 0)

    def test_rest(self) -> None:
        """Where anything else begins, it stops, and says where."""
        first = server_frame(b"first")
        others = {
            "text": b"\x81\x05hello",
            "close": b"\x88\x02\x03\xe8",
            "ping": b"\x89\x04ping",
            "fragment": b"\x02\x04part",
            "continuation": b"\x80\x04part",
            "reserved bit": b"\xc2\x04data",
            "masked": b"\x82\x84aaaadata",
            "64-bit length": server_frame(b"x" * 65536),
            "length not in its shortest form": b"\x82\x7e\x00\x05hello",
            "incomplete": server_frame(b"x" * 200)[:-1],
            "only a header": b"\x82\x7e\x01",
        }
        for name, other in others.items():
            self.assertEqual(split_binary(first + other), ([b"first"], len(first)), name)

    @fast
    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """It never raises, and what it takes is what it says it took."""
        messages, at = split_binary(data)
        self.assertEqual(b"".join(map(server_frame, messages)), data[:at])
