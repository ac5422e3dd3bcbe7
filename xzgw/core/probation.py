"""Audio sources that are not believed yet.

The cipher authenticates nothing, so a datagram that would move something (the device's address,
its sequence by a long way, the session's frame duration) has to be followed by its successors
first. Only the same source sending consecutive sequences of one duration gets through. RFC 3550
A.1 treats a sequence jump in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Address = tuple[str, int]
Packet = tuple[int, int, bytes]  # sequence, timestamp in ms, Opus

CONFIRMATIONS: Final = 3  # consecutive packets
MAX_SOURCES: Final = 8


class _Run:
    """Consecutive packets of one source, and the reason to count them under if dropped."""

    __slots__ = ("duration_us", "packets", "reason")

    def __init__(self, duration_us: int, reason: str) -> None:
        self.duration_us = duration_us
        self.reason = reason
        self.packets: list[Packet] = []

    def continues(self, sequence: int, duration_us: int) -> bool:
        return sequence == self.packets[-1][0] + 1 and duration_us == self.duration_us


class Probation:
    """At most MAX_SOURCES runs; the source heard least recently gives way to a new one.

    So one source that floods spoils its own run only.
    """

    __slots__ = ("_refuse", "runs")

    def __init__(self, refuse: Callable[[str, int], None]) -> None:
        """Call `refuse(reason, packets)` for packets that never got confirmed."""
        self._refuse = refuse
        self.runs: dict[Address, _Run] = {}

    def offer(self, source: Address, packet: Packet, duration_us: int, reason: str) -> list[Packet]:
        """Hold one plausible packet; when it confirms its source, the whole run, in order.

        Args:
            reason: what to count the packet under if it is never confirmed.
        """
        run = self.runs.pop(source, None)
        if run is not None and packet[0] == run.packets[-1][0]:
            self.runs[source] = run  # the network's duplicate, not a contradiction
            self._refuse("old_sequence", 1)
            return []
        if run is None or not run.continues(packet[0], duration_us):
            self._drop(run)
            run = _Run(duration_us, reason)
        run.packets.append(packet)
        if len(run.packets) == CONFIRMATIONS:
            return run.packets
        if len(self.runs) == MAX_SOURCES:
            self._drop(self.runs.pop(next(iter(self.runs))))
        self.runs[source] = run
        return []

    def clear(self) -> None:
        """Drop all that is held."""
        for run in self.runs.values():
            self._drop(run)
        self.runs.clear()

    def _drop(self, run: _Run | None) -> None:
        if run is not None:
            self._refuse(run.reason, len(run.packets))
