"""Devices of which one is traced, and what is read of its trace."""

from __future__ import annotations

import json
from struct import unpack
from typing import Any

from tests.core.phones import PhonesTestCase, connect_of
from xzgw.core.trace_types import KEPT, MAX_SECONDS, TraceForm, TraceOptions, TraceView

ANN, BOB = (connect_of(number).client_id for number in range(2))


class TracingTestCase(PhonesTestCase):
    """A gateway whose traces are asked for at its door."""

    def tearDown(self) -> None:
        self.board.pass_time(MAX_SECONDS)  # until all have ended ...
        self.board.pass_time(KEPT)  # ... and are forgotten
        super().tearDown()

    def trace(self, client_id: str = ANN, **options: Any) -> TraceView:
        """Start one."""
        return self.successResultOf(self.board.door.start_trace(client_id, TraceOptions(**options)))

    def read(self, client_id: str = ANN, form: TraceForm = TraceForm.JSONL) -> bytes:
        """All of it."""
        view = self.successResultOf(self.board.door.trace(client_id))
        parts, at = [], 0
        while True:
            reading = self.board.door.read_trace(client_id, view.number, form, at)
            piece = self.successResultOf(reading)
            parts.append(piece.data)
            if piece.following is None:
                return b"".join(parts)
            at = piece.following

    def lines(self, kind: str = "", client_id: str = ANN) -> list[Any]:
        """Its records, of a kind."""
        found = [json.loads(line) for line in self.read(client_id).splitlines()[1:]]
        return [line for line in found if kind in ("", line["kind"])]

    def captured(self) -> list[tuple[tuple[int, int], int, bytes]]:
        """UDP ports, size and payload of each packet in the capture file; IPv4 only."""
        data, found = self.read(form=TraceForm.PCAP)[24:], []
        while data:
            kept, size = unpack(">II", data[8:16])
            packet, data = data[16 : 16 + kept], data[16 + kept :]
            found.append((unpack(">HH", packet[20:24]), size - 28, packet[28:]))
        return found

    def datagrams(self) -> list[tuple[tuple[int, int], int, bytes]]:
        """Those of them that are audio, no messages of syslog or SAP."""
        return [each for each in self.captured() if each[0] not in ((514, 514), (9875, 9875))]
