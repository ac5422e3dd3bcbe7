"""The quick WebSocket frames, against the rules of RFC 6455 and against autobahn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support import client_frame
from xzgw.wire.audio import MAX_OPUS, parse_server_audio, server_audio
from xzgw.wire.frames import audio_frame, lone_audio, split_binary

fast = settings(derandomize=True, deadline=None)
SIZES = (0, 1, 2, 3, 4, 5, 108, 109, 110, 111, 112, 124, 125, 126, 127, 128, 196, MAX_OPUS)
NUMBERS = st.integers(0, 0xFFFFFFFF)


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


class AudioFrameTests(SynchronousTestCase):
    """Towards the server."""

    def test_sizes(self) -> None:
        """Every size round the edges is framed in the shortest form and masked."""
        for size in SIZES:
            opus = bytes(i & 0xFF for i in range(size))
            frame = audio_frame(7, 540, opus, 0x01020304)
            self.assertEqual(unmask(frame), server_audio(7, 540, opus), size)

    def test_mask_is_used(self) -> None:
        """The mask goes over the wire in front of the payload, and changes it."""
        frame = audio_frame(0x05060708, 0, b"\0", 0xA1B2C3D4)
        message = "a0b2c3d5" + "a4b4c4dc" + "a1b2c3d4" + "a1b2c3d5" + "a1"
        self.assertEqual(frame.hex(), "8291" + "a1b2c3d4" + message)

    @fast
    @given(NUMBERS, NUMBERS, st.binary(max_size=MAX_OPUS), NUMBERS)
    def test_round_trip(self, sequence: int, timestamp: int, opus: bytes, mask: int) -> None:
        """Whatever the numbers, the bytes and the mask, the message is in the frame."""
        frame = audio_frame(sequence, timestamp, opus, mask)
        self.assertEqual(frame, client_frame(server_audio(sequence, timestamp, opus), mask))
        self.assertEqual(unmask(frame), server_audio(sequence, timestamp, opus))


class LoneAudioTests(SynchronousTestCase):
    """From the server, one message at a time."""

    def test_sizes(self) -> None:
        """A whole frame with a well-formed message is taken, of every size round the edges."""
        for size in SIZES[1:]:
            opus = bytes(i & 0xFF for i in range(size))
            frame = server_frame(server_audio(1, 540, opus))
            self.assertEqual(lone_audio(frame), (540, opus), size)

    def test_others(self) -> None:
        """Anything else is left to the careful way."""
        for size in (50, 200):
            frame = server_frame(server_audio(1, 2, bytes(size)))
            head = len(frame) - size
            at = head - 16  # where the message begins
            for name, other in {
                "incomplete": frame[:-1],
                "followed by another byte": frame + b"\x82",
                "two": frame + frame,
                "text": b"\x81" + frame[1:],
                "masked": frame[:1] + bytes((frame[1] | 0x80,)) + frame[2:],
                "not audio": frame[:at] + b"\x02" + frame[at + 1 :],
                "another payload length": frame[: at + 3] + b"\x07" + frame[at + 4 :],
                "another Opus length": frame[: head - 1] + b"\x07" + frame[head:],
            }.items():
                self.assertIsNone(lone_audio(other), (name, size))
        self.assertIsNone(lone_audio(server_frame(server_audio(1, 2, b""))))
        self.assertIsNone(lone_audio(server_frame(server_audio(1, 2, bytes(MAX_OPUS + 1)))))
        longer = b"\x82\x7e\x00\x42" + server_audio(1, 2, bytes(50)) + bytes(62)
        self.assertIsNone(lone_audio(longer))

    @fast
    @given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(server_frame)))
    def test_any_bytes(self, data: bytes) -> None:
        """It never raises, and takes nothing that the careful way would not."""
        packet = lone_audio(data)
        if packet is not None:
            self.assertEqual(split_binary(data)[1], len(data))
            self.assertEqual(parse_server_audio(split_binary(data)[0][0]), packet)

    @fast
    @given(NUMBERS, NUMBERS, st.binary(min_size=1, max_size=MAX_OPUS))
    def test_round_trip(self, sequence: int, timestamp: int, opus: bytes) -> None:
        """Every message of audio is taken."""
        frame = server_frame(server_audio(sequence, timestamp, opus))
        self.assertEqual(lone_audio(frame), (timestamp, opus))


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
