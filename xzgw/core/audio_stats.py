"""What became of one session's audio packets, by reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from operator import attrgetter

_REFUSED = "refused_"
_DROPPED = "dropped_"


@dataclass(slots=True)
class Stats:
    """Counts of one session's packets. Received = forwarded + refused + still on probation.

    Bytes are those of whole datagrams.
    """

    received_packets: int = 0
    received_bytes: int = 0
    forwarded: int = 0
    forwarded_bytes: int = 0
    lost: int = 0  # of the gaps in the sequences forwarded, but not jumps: what never came
    late: int = 0  # refused as old, and missing until then
    duplicate: int = 0  # refused as old, and forwarded before
    refused_too_short: int = 0
    refused_oversized: int = 0
    refused_wrong_type: int = 0
    refused_wrong_length: int = 0
    refused_empty: int = 0
    refused_wrong_connection: int = 0
    refused_reflected: int = 0
    refused_old_sequence: int = 0
    refused_implausible: int = 0
    refused_unconfirmed_source: int = 0
    refused_unconfirmed_jump: int = 0
    refused_unconfirmed_duration: int = 0
    sent_packets: int = 0
    sent_bytes: int = 0
    dropped_empty: int = 0
    dropped_oversized: int = 0
    dropped_waiting: int = 0  # the device's first datagram came too late or never

    def refuse(self, reason: str, packets: int = 1) -> None:
        """Count uplink packets refused."""
        name = _REFUSED + reason
        setattr(self, name, getattr(self, name) + packets)

    @property
    def refused(self) -> int:
        """Uplink packets refused, for whatever reason."""
        return sum(_refusals(self))

    @property
    def dropped(self) -> int:
        """Downlink packets dropped, for whatever reason."""
        return sum(_drops(self))

    def refused_by(self) -> dict[str, int]:
        """Uplink packets refused by reason, zeros included."""
        return dict(zip(_REFUSED_FOR, _refusals(self), strict=True))

    def dropped_by(self) -> dict[str, int]:
        """Downlink packets dropped by reason, zeros included."""
        return dict(zip(_DROPPED_FOR, _drops(self), strict=True))

    def add(self, *others: Stats) -> None:
        """Add other sessions' counts to these: at once, as there may be thousands."""
        columns = zip(*map(_all, (self, *others)), strict=True)
        for name, column in zip(_NAMES, columns, strict=True):
            setattr(self, name, sum(column))

    def as_dict(self) -> dict[str, int]:
        """All counts by name, for logs and the API."""
        return asdict(self)


_NAMES = tuple(field.name for field in fields(Stats))
_all = attrgetter(*_NAMES)
_REFUSED_FOR = tuple(n.removeprefix(_REFUSED) for n in _NAMES if n.startswith(_REFUSED))
_DROPPED_FOR = tuple(n.removeprefix(_DROPPED) for n in _NAMES if n.startswith(_DROPPED))
_refusals = attrgetter(*(_REFUSED + reason for reason in _REFUSED_FOR))
_drops = attrgetter(*(_DROPPED + reason for reason in _DROPPED_FOR))
