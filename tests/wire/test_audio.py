"""Datagrams and binary messages: golden bytes, lengths that lie, keystream kept apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.audio import (
    HEADER,
    MAX_DATAGRAM,
    MAX_OPUS,
    AudioError,
    Cipher,
    downlink_flags,
    nonce,
    parse_server_audio,
    server_audio,
)

VECTORS = Path(__file__).parent.parent / "vectors"
KEY = bytes(range(16))
SSRC = 0x12345678
OPUS = b"\x58" + bytes(99)
U32 = st.integers(0, 2**32 - 1)


def reason(call: Callable[[bytes], object], data: bytes) -> str | None:
    """Why the call refuses these bytes, None if it takes them."""
    try:
        call(data)
    except AudioError as error:
        return error.reason
    return None


def altered(data: bytes, at: int, value: int) -> bytes:
    """The same bytes but one."""
    return data[:at] + bytes([value]) + data[at + 1 :]


class CipherTests(SynchronousTestCase):
    """The encrypted datagram."""

    def vectors(self) -> list[dict[str, Any]]:
        """The reference values, of which there are some."""
        found: list[dict[str, Any]] = json.loads((VECTORS / "vectors.json").read_text())["audio"]
        self.assertTrue(found)
        return found

    def test_vectors(self) -> None:
        """Every reference datagram opens to its packet and is sealed to the same bytes."""
        for vector in self.vectors():
            cipher = Cipher(bytes.fromhex(vector["key"]), vector["connection_id"])
            opus, datagram = bytes.fromhex(vector["opus"]), bytes.fromhex(vector["datagram"])
            fields = (vector["sequence"], vector["timestamp"], opus)
            self.assertEqual(cipher.open(datagram), fields)
            self.assertEqual(cipher.seal(*fields, flags=vector["flags"]), datagram)

    def test_context_reused(self) -> None:
        """What a cipher did before leaves no trace in what it does next."""
        used = Cipher(KEY, SSRC)
        used.seal(1, 0, bytes(33))
        self.assertEqual(used.seal(2, 60, OPUS), Cipher(KEY, SSRC).seal(2, 60, OPUS))

    def test_nonce(self) -> None:
        """The nonce is the header with length, timestamp and sequence zero; devices want 01."""
        self.assertEqual(nonce(SSRC).hex(), "01000000123456780000000000000000")

    def test_refused(self) -> None:
        """Every length and field that lies is refused under its own reason."""
        cipher = Cipher(KEY, SSRC)
        good = cipher.seal(1, 0, OPUS)
        for expected, datagram in [
            (None, good),
            (None, cipher.seal(1, 0, b"\x58")),
            (None, cipher.seal(1, 0, bytes(MAX_OPUS))),
            ("too_short", b""),
            ("too_short", good[: HEADER - 1]),
            ("empty", nonce(SSRC)),
            ("oversized", cipher.seal(1, 0, bytes(MAX_OPUS + 1))),
            ("wrong_type", altered(good, 0, 2)),
            ("wrong_length", good + b"\0"),
            ("wrong_length", good[:-1]),
            ("wrong_length", altered(good, 2, 1)),
            ("wrong_connection", altered(good, 7, 0x79)),
        ]:
            self.assertEqual(reason(cipher.open, datagram), expected)
        self.assertEqual(len(cipher.seal(1, 0, bytes(MAX_OPUS))), MAX_DATAGRAM)

    def test_error_text(self) -> None:
        """The error reads as its reason."""
        self.assertEqual(str(AudioError("too_short")), "too_short")

    @settings(derandomize=True, deadline=None)
    @given(U32, U32, st.binary(min_size=1, max_size=MAX_OPUS), st.integers(0, 255))
    def test_round_trip(self, sequence: int, timestamp: int, opus: bytes, flags: int) -> None:
        """What was sealed opens, whatever the flags."""
        datagram = Cipher(KEY, SSRC).seal(sequence, timestamp, opus, flags)
        self.assertEqual(Cipher(KEY, SSRC).open(datagram), (sequence, timestamp, opus))

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=60))
    def test_any(self, data: bytes) -> None:
        """Any bytes open or raise AudioError alone."""
        for datagram in (data, nonce(SSRC)[:2] + data):
            if reason(Cipher(KEY, SSRC).open, datagram) is None:
                self.assertEqual(int.from_bytes(datagram[2:4], "big"), len(datagram) - HEADER)

    def test_key_hidden(self) -> None:
        """A cipher's repr does not show its key."""
        self.assertNotIn(KEY.hex(), repr(Cipher(KEY, SSRC)))
        self.assertNotIn(repr(KEY), repr(Cipher(KEY, SSRC)))


class KeystreamTests(SynchronousTestCase):
    """CTR must never use one counter block twice under one key."""

    def test_blocks_distinct(self) -> None:
        """Full-size packets of equal timestamp, both ways: all counter blocks differ."""
        blocks = -(-MAX_OPUS // 16)
        cipher = Cipher(KEY, SSRC)
        seen: set[int] = set()
        for sequence in range(1, 201):
            datagram = cipher.seal(sequence, 0, bytes(MAX_OPUS), downlink_flags(sequence))
            first = int.from_bytes(datagram[:HEADER], "big")
            seen.update(first + block for block in range(blocks))
        self.assertEqual(len(seen), 200 * blocks)
        uplink = {
            int.from_bytes(cipher.seal(sequence, 0, bytes(MAX_OPUS))[:HEADER], "big") + block
            for sequence in range(1, 201)
            for block in range(blocks)
        }
        self.assertTrue(seen.isdisjoint(uplink))

    def test_keystream_distinct(self) -> None:
        """The very keystream, block by block, never repeats either."""
        cipher = Cipher(KEY, SSRC)
        keystream = [
            cipher.seal(sequence, 0, bytes(160), downlink_flags(sequence))[HEADER:]
            for sequence in range(1, 201)
        ]
        pieces = {stream[at : at + 16] for stream in keystream for at in range(0, 160, 16)}
        self.assertEqual(len(pieces), 2000)


class ServerAudioTests(SynchronousTestCase):
    """The server's binary message."""

    def test_golden(self) -> None:
        """All fields are filled, big-endian."""
        message = server_audio(7, 0x01020304, b"\x58\xaa")
        self.assertEqual(message.hex(), "01000002000000070102030400000002" + "58aa")
        self.assertEqual(parse_server_audio(message), (0x01020304, b"\x58\xaa"))

    def test_refused(self) -> None:
        """Short, mistyped, lying, empty and oversized messages are refused, each by name."""
        good = server_audio(0, 0, OPUS)
        for expected, message in [
            (None, good),
            (None, altered(good, 1, 9)),
            (None, server_audio(0, 0, bytes(MAX_OPUS))),
            ("oversized", server_audio(0, 0, bytes(MAX_OPUS + 1))),
            ("oversized", bytes(1 << 20)),
            ("wrong_type", altered(good, 0, 0)),
            ("wrong_type", "认证失败，请重新连接".encode()),
            ("wrong_length", good[:-1]),
            ("wrong_length", good + b"\0"),
            ("wrong_length", altered(good, 3, 98)),
            ("wrong_length", altered(good, 12, 1)),
            ("empty", server_audio(0, 0, b"")),
        ]:
            self.assertEqual(reason(parse_server_audio, message), expected)
        for size in range(HEADER):
            self.assertEqual(reason(parse_server_audio, good[:size]), "too_short")

    @settings(derandomize=True, deadline=None)
    @given(U32, U32, st.binary(min_size=1, max_size=MAX_OPUS))
    def test_round_trip(self, sequence: int, timestamp: int, opus: bytes) -> None:
        """What we send, we would take."""
        message = server_audio(sequence, timestamp, opus)
        self.assertEqual(parse_server_audio(message), (timestamp, opus))

    @settings(derandomize=True, deadline=None)
    @given(st.binary(max_size=40))
    def test_any(self, message: bytes) -> None:
        """Any bytes are audio to the last one, or raise AudioError alone."""
        if reason(parse_server_audio, message) is None:
            self.assertEqual(parse_server_audio(message)[1], message[HEADER:])
