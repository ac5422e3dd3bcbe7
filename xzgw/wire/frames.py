"""WebSocket frames of the common kind: one small, whole, binary message, RFC 6455 section 5.2.

A quick way past autobahn, which keeps everything else: text, control, fragments, large frames.
Measured at 600 devices in duplex, with autobahn for all frames a frame cost 47 us of CPU, with
this for audio (and the direct write in net/backend.py) 26 us.

`audio_frame` and `lone_audio` take both headers, WebSocket's and the audio's, in one step: half the
instructions of one after the other.
"""

from __future__ import annotations

from struct import Struct

from xzgw.wire.audio import HEADER, KIND, MAX_OPUS

_BINARY = 0x82  # FIN, no extension, opcode 2
_MASKED = 0x80
_LENGTH_16 = 126

# Two bytes of WebSocket, length if it is not in these, mask; kind, reserved, payload length,
# sequence, timestamp in ms, Opus length: as in wire.audio.
_pack_short = Struct(">BBIBBHIII").pack
_pack_long = Struct(">BBHIBBHIII").pack
# The same from a server: without a mask.
_SHORT = Struct(">BBBxH4xII")
_LONG = Struct(">BBHBxH4xII")
_unpack_short, _unpack_long = _SHORT.unpack_from, _LONG.unpack_from
_LONGEST_SHORT = 2 + _LENGTH_16 - 1  # bytes of a frame with a length of 7 bits

# _REPEAT[n] * mask is the four-byte mask n times over, so that one XOR of big integers masks all.
_REPEAT = [0]
while len(_REPEAT) <= (HEADER + MAX_OPUS + 3) // 4:
    _REPEAT.append(_REPEAT[-1] << 32 | 1)


def audio_frame(sequence: int, timestamp: int, opus: bytes, mask: int) -> bytes:
    """A client's frame with one message of audio, see wire.audio.server_audio.

    Args:
        sequence: below 2**32.
        timestamp: ms, below 2**32.
        opus: at most MAX_OPUS bytes.
        mask: 32 random bits.
    """
    size = len(opus)
    whole = HEADER + size
    if whole < _LENGTH_16:
        start = 6
        head = _pack_short(_BINARY, _MASKED | whole, mask, KIND, 0, size, sequence, timestamp, size)
    else:
        start = 8
        head = _pack_long(
            _BINARY, _MASKED | _LENGTH_16, whole, mask, KIND, 0, size, sequence, timestamp, size
        )
    # The number's upper bytes, WebSocket's own, are beyond the mask; that ends with a part of
    # itself unless `whole` can be divided by four.
    masks = mask * _REPEAT[(whole + 3) >> 2] >> ((-whole & 3) << 3)
    return (int.from_bytes(head + opus, "big") ^ masks).to_bytes(start + whole, "big")


def lone_audio(data: bytes) -> tuple[int, bytes] | None:
    """Timestamp (ms) and Opus packet of the one message in data.

    None if data is anything but one whole frame with one well-formed message of audio, see
    wire.audio.parse_server_audio: then the careful way is to be gone.
    """
    size = len(data)
    if size > _LONGEST_SHORT:
        first, second, whole, kind, length, timestamp, opus_length = _unpack_long(data)
        head, fits = _LONG.size, second == _LENGTH_16 and whole == size - 4 >= _LENGTH_16
    elif size > _SHORT.size:
        first, second, kind, length, timestamp, opus_length = _unpack_short(data)
        head, fits = _SHORT.size, second == size - 2
    else:
        return None
    if not fits or first != _BINARY or kind != KIND or not length == opus_length == size - head:
        return None
    return (timestamp, data[head:]) if length <= MAX_OPUS else None


def split_binary(data: bytes) -> tuple[list[bytes], int]:
    """The messages that data begins with, if they are a server's whole binary frames.

    Returns:
        The messages, and where the first byte of anything else is: another kind of frame, an
        incomplete one, or the end.
    """
    found = []
    at, end = 0, len(data)
    while end - at >= 4 and data[at] == _BINARY:
        size = data[at + 1]
        start = at + 2
        if size >= _LENGTH_16:
            if size > _LENGTH_16:
                break  # 64-bit length, or masked
            size = data[at + 2] << 8 | data[at + 3]
            if size < _LENGTH_16:
                break  # not the shortest form: for autobahn to refuse
            start = at + 4
        if start + size > end:
            break
        at = start + size
        found.append(data[start:at])
    return found, at
