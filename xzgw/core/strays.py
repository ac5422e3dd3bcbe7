"""Datagrams for no open session, by the address that they came from."""

from __future__ import annotations

MAX_ADDRESSES = 1000  # remembered; the one heard least recently is forgotten


class Strays:
    """How many came from where."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def note(self, ip: str) -> None:
        """Count one from an IP address, as the socket spells it."""
        counts = self._counts
        before = counts.pop(ip, 0)
        if len(counts) >= MAX_ADDRESSES:
            del counts[next(iter(counts))]
        counts[ip] = before + 1

    def count(self, ip: str) -> int:
        """Those from an IP address, an IPv4 address in its short form."""
        # A socket for both families maps IPv4 into IPv6.
        return self._counts.get(ip, 0) + self._counts.get("::ffff:" + ip, 0)
