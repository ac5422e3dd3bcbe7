"""What became of one session's audio packets, by reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Stats:
    """Counts of one session's packets. Received = forwarded + refused + still on probation."""

    received_packets: int = 0
    received_bytes: int = 0
    forwarded: int = 0
    lost: int = 0  # gaps in the sequences forwarded, but not jumps
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
        name = "refused_" + reason
        setattr(self, name, getattr(self, name) + packets)

    @property
    def refused(self) -> int:
        """Uplink packets refused, for whatever reason."""
        return self._total("refused_")

    @property
    def dropped(self) -> int:
        """Downlink packets dropped, for whatever reason."""
        return self._total("dropped_")

    def as_dict(self) -> dict[str, int]:
        """All counts by name, for logs and the API."""
        return asdict(self)

    def _total(self, prefix: str) -> int:
        return sum(n for name, n in self.as_dict().items() if name.startswith(prefix))
