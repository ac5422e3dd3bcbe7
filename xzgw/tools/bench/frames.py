"""The audio that the bench sends: packets that say when they were sent.

Outwardly each is a well-formed mono Opus packet of one frame; inside are the time, a number and a
fixed filler. Nobody decodes them. The time is CLOCK_MONOTONIC, which all processes of one machine
share.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from xzgw.tools.bench.figures import Flow
from xzgw.wire.opus import MAX_SINGLE

FRAME_MS: Final = (10, 20, 40, 60)
_SILK_WIDEBAND = 8  # the first of its four configurations, RFC 6716 section 3.1
_HEAD = Struct(">BQI")  # TOC, ns, number
MIN_BYTES: Final = _HEAD.size
MAX_BYTES: Final = MAX_SINGLE
_pack, _unpack = _HEAD.pack, _HEAD.unpack_from


class Frames:
    """Makes and reads packets of one duration and size."""

    __slots__ = ("_filler", "_toc")

    def __init__(self, frame_ms: int, size: int) -> None:
        """Take one of FRAME_MS, and MIN_BYTES to MAX_BYTES."""
        self._toc = _SILK_WIDEBAND + FRAME_MS.index(frame_ms) << 3
        self._filler = bytes(number * 151 & 255 for number in range(size - MIN_BYTES))

    def make(self, stamp: int, number: int) -> bytes:
        """The packet with this number, sent at this time (ns)."""
        return _pack(self._toc, stamp, number) + self._filler

    def read(self, packet: bytes) -> tuple[int, int] | None:
        """Time (ns) and number; None if this is not what was sent."""
        if packet[MIN_BYTES:] != self._filler or len(packet) < MIN_BYTES:
            return None
        toc, stamp, number = _unpack(packet)
        return (stamp, number) if toc == self._toc else None


class Window:
    """The time (ns) whose frames count."""

    __slots__ = ("begin", "end")

    def __init__(self) -> None:
        self.begin = self.end = 0


class Ear:
    """Where one stream of packets arrives."""

    __slots__ = ("_frames", "_last", "_window", "flow")

    def __init__(self, frames: Frames, window: Window, flow: Flow) -> None:
        self.flow = flow  # of the present window
        self._frames = frames
        self._window = window
        self._last = 0

    def take(self, packet: bytes, now: int) -> None:
        """Count one that arrived at a time (ns). Repeated and overtaken ones are no arrival."""
        found = self._frames.read(packet)
        if found is None:
            self.flow.damaged += 1
            return
        stamp, number = found
        if number <= self._last:
            return
        self._last = number
        if self._window.begin <= stamp < self._window.end:
            self.flow.arrived += 1
            self.flow.latency.add(now - stamp)
