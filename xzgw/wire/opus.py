"""Opus packets seen from outside: how long one lasts, and whether it is well formed.

The audio cipher cannot tell a forged datagram, but the packet's own framing can: one that decrypts
to junk is hardly ever a well-formed packet of the expected duration. Nothing is decoded here.

Source: RFC 6716 section 3; the rules R1 to R7 are those of section 3.4.
"""

from __future__ import annotations

MAX_FRAME = 1275  # bytes, R2
MAX_SINGLE = 1 + MAX_FRAME  # bytes of a packet with one frame
MAX_DURATION_US = 120_000  # R5

# 60 ms of silence, 16 kHz mono, made by libopus: the packet that follows other silence.
SILENCE_60MS = bytes.fromhex("5801f25e7236921f05fa478d692c8f200afbfb2b20")

_STEREO = 0x04
_VBR = 0x80
_PADDED = 0x40


def _frame_us(toc: int) -> int:
    config = toc >> 3
    if config < 12:  # SILK
        return (10_000, 20_000, 40_000, 60_000)[config & 3]
    if config < 16:  # hybrid
        return (10_000, 20_000)[config & 1]
    return (2_500, 5_000, 10_000, 20_000)[config & 3]  # CELT


# Microseconds of one frame, by TOC byte.
FRAME_US = tuple(_frame_us(toc) for toc in range(256))

# Microseconds of the packet by TOC byte when that alone tells (one frame, mono, at most
# MAX_SINGLE bytes in all), else 0. Nearly every packet in practice.
SINGLE_US = tuple(0 if toc & (_STEREO | 3) else FRAME_US[toc] for toc in range(256))


def packet_duration_us(packet: bytes) -> int | None:
    """Microseconds of audio in a well-formed mono packet, None for anything else."""
    if not packet:  # R1
        return None
    toc = packet[0]
    if toc & _STEREO:
        return None
    duration = _COUNTS[toc & 3](packet) * FRAME_US[toc]
    return duration if 0 < duration <= MAX_DURATION_US else None  # R5


def _one(packet: bytes) -> int:
    """Code 0: one frame to the end. Frames in the packet; like its siblings, 0 if malformed."""
    return 1 if len(packet) <= MAX_SINGLE else 0  # R2


def _two_equal(packet: bytes) -> int:
    """Code 1: two frames of equal length."""
    size = len(packet) - 1
    return 2 if size % 2 == 0 and size // 2 <= MAX_FRAME else 0  # R3, R2


def _two(packet: bytes) -> int:
    """Code 2: the first frame's length, then both."""
    length, start = _frame_length(packet, 1)
    return 2 if 0 <= len(packet) - start - length <= MAX_FRAME else 0  # R4, R2


def _many(packet: bytes) -> int:
    """Code 3: frame count, padding length, for VBR all lengths but the last, frames, padding."""
    if len(packet) < 2:  # R6, R7
        return 0
    flags = packet[1]
    count = flags & 0x3F
    if count == 0 or count * FRAME_US[packet[0]] > MAX_DURATION_US:  # R5
        return 0
    start, end = 2, len(packet)
    if flags & _PADDED:
        start, end = _without_padding(packet)
    room = end - start
    if flags & _VBR:
        return count if _lengths_fit(packet, start, end, count) else 0
    return count if 0 <= room <= count * MAX_FRAME and room % count == 0 else 0  # R6, R2


_COUNTS = (_one, _two_equal, _two, _many)


def _without_padding(packet: bytes) -> tuple[int, int]:
    """Where the rest starts and ends; the end is before the start if the padding does not fit."""
    start, padding = 2, 0
    size = len(packet)
    while start < size:
        value = packet[start]
        start += 1
        if value < 255:
            return start, size - padding - value
        padding += 254
    return start, 0


def _lengths_fit(packet: bytes, start: int, end: int, count: int) -> bool:
    """R7: the coded lengths and the frames they announce fit, and so does the last frame (R2)."""
    announced = 0
    for _ in range(count - 1):
        length, start = _frame_length(packet, start)
        announced += length
    return 0 <= end - start - announced <= MAX_FRAME


def _frame_length(packet: bytes, at: int) -> tuple[int, int]:
    """A frame length of one or two bytes, and where it ends (RFC 6716 section 3.2.1).

    Cut off, it ends beyond the packet, so that the sum of the lengths cannot fit.
    """
    first = packet[at] if at < len(packet) else 0
    if first < 252:
        return first, at + 1
    second = packet[at + 1] if at + 1 < len(packet) else 0
    return first + 4 * second, at + 2
