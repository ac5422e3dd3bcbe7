"""One record of a trace, in both of its forms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from xzgw.wire import messages, pcap
from xzgw.wire.messages import Json

MAX_LINE: Final = 16 * 1024  # bytes; of a longer one some are left out
SYSLOG: Final = 514  # port
_RECORD: Final = 400  # bytes of memory besides its line and payload, about
_PRIORITY: Final = b"<135>"  # local0, debug; RFC 3164


@dataclass(frozen=True, slots=True)
class Record:
    """One fact, as a line of JSON and as a packet of a capture file.

    Attributes:
        at: unix time.
        line: without its end.
        payload: of the packet; None for a message of syslog with the line.
        size: of what the payload is the beginning of; of no matter without one.
    """

    at: float
    line: bytes
    source: pcap.Address
    target: pcap.Address
    payload: bytes | None
    size: int

    def cost(self) -> int:
        """Bytes of memory, about."""
        return _RECORD + len(self.line) + len(self.payload or b"")

    def captured(self) -> bytes:
        """As a record of a capture file."""
        payload = _PRIORITY + self.line if self.payload is None else self.payload
        size = len(payload) if self.payload is None else self.size
        return pcap.packet(self.at, self.source, self.target, payload, size)


def line_of(at: float, kind: str, way: str, members: Json) -> bytes:
    """A record's line; one that is too long has its beginning as a text, `cut`."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    head = {"kind": kind, "time": time.replace("+00:00", "Z"), "way": way}
    line = messages.encode({**head, **members})
    if len(line) > MAX_LINE:
        start = line[: MAX_LINE // 4].decode("utf-8", "ignore")
        line = messages.encode({**head, "size": len(line), "cut": start})
    return line
