"""Both audio framings: encrypted datagrams with the device, binary messages with the server.

To the device goes a 16-byte header, then one Opus packet under AES-128-CTR whose initial counter
block is that header. Both directions share one key, and CTR counts up in the sequence field, so
header values must be kept apart: what the gateway sends carries `downlink_flags`, a byte that is
never the device's 0 and differs among any 128 neighbouring sequences, while a datagram spans at
most 93 blocks.

To the server goes a 16-byte header, then the plain Opus packet.

Source: xiaozhi-esp32 main/protocols/mqtt_protocol.cc; xiaozhi-server core/connection.py.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

KIND: Final = 1  # first byte of both headers
HEADER: Final = 16  # bytes, both headers
MAX_DATAGRAM: Final = 1500
MAX_OPUS: Final = MAX_DATAGRAM - HEADER

# kind, flags, payload length, connection id, timestamp in ms, sequence
_DEVICE = Struct(">BBHIII")
_pack_device, _unpack_device = _DEVICE.pack, _DEVICE.unpack_from
# kind, reserved, payload length, sequence, timestamp in ms, Opus length
_SERVER = Struct(">BBHIII")
_pack_server, _unpack_server = _SERVER.pack, _SERVER.unpack_from


class AudioError(Exception):
    """Not audio: drop it and count it under `reason`, a short label."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def nonce(ssrc: int) -> bytes:
    """The hello reply's nonce: the device header with length, timestamp and sequence zero."""
    return _pack_device(KIND, 0, 0, ssrc, 0, 0)


def downlink_flags(sequence: int) -> int:
    """The flags byte of what the gateway sends, which keeps all counter blocks distinct."""
    return 0x80 | (sequence & 0x7F)


class Cipher:
    """One direction of one session's audio. Holds a key: never log it or its parts."""

    __slots__ = ("_reset", "_ssrc", "_update")

    def __init__(self, key: bytes, ssrc: int) -> None:
        """Take the 16-byte key and the connection id of this session's hello reply."""
        context = ciphers.Cipher(AES(key), CTR(nonce(ssrc))).encryptor()
        self._reset = context.reset_nonce
        self._update = context.update
        self._ssrc = ssrc

    def seal(self, sequence: int, timestamp: int, opus: bytes, flags: int = 0) -> bytes:
        """One datagram: sequence and timestamp (ms) below 2**32, opus of 1 to MAX_OPUS bytes."""
        header = _pack_device(KIND, flags, len(opus), self._ssrc, timestamp, sequence)
        self._reset(header)
        return header + self._update(opus)

    def open(self, datagram: bytes) -> tuple[int, int, bytes]:
        """Sequence, timestamp (ms) and decrypted payload of one datagram.

        The flags are taken as they come, and nothing tells whether the key was the sender's.

        Raises:
            AudioError: too_short, oversized, wrong_type, wrong_length, empty or wrong_connection.
        """
        size = len(datagram) - HEADER
        if size < 0:
            raise AudioError("too_short")
        if size > MAX_OPUS:
            raise AudioError("oversized")
        kind, _, length, ssrc, timestamp, sequence = _unpack_device(datagram)
        if kind != KIND:
            raise AudioError("wrong_type")
        if length != size:
            raise AudioError("wrong_length")
        if not size:
            raise AudioError("empty")
        if ssrc != self._ssrc:
            raise AudioError("wrong_connection")
        self._reset(datagram[:HEADER])
        return sequence, timestamp, self._update(datagram[HEADER:])


def server_audio(sequence: int, timestamp: int, opus: bytes) -> bytes:
    """One binary message to the server; all numbers below 2**32, opus below 64 KiB."""
    size = len(opus)
    return _pack_server(KIND, 0, size, sequence, timestamp, size) + opus


def parse_server_audio(message: bytes) -> tuple[int, bytes]:
    """Timestamp (ms) and Opus packet of one binary message from the server.

    Raises:
        AudioError: too_short, oversized (more than a datagram carries), wrong_type, wrong_length
            (either of the two lengths) or empty.
    """
    size = len(message) - HEADER
    if size < 0:
        raise AudioError("too_short")
    if size > MAX_OPUS:
        raise AudioError("oversized")
    kind, _, length, _, timestamp, opus_length = _unpack_server(message)
    if kind != KIND:
        raise AudioError("wrong_type")
    if length != size or opus_length != size:
        raise AudioError("wrong_length")
    if not size:
        raise AudioError("empty")
    return timestamp, message[HEADER:]
