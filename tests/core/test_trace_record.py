"""Records of a trace; more of them are tested with trace."""

from __future__ import annotations

import json
from struct import unpack

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.trace_record import MAX_LINE, Record, line_of
from xzgw.wire.pcap import MAX_PAYLOAD

ENDS = ("192.0.2.7", 1), ("192.0.2.1", 2)


class LineTests(SynchronousTestCase):
    """Lines of JSON."""

    def test_line(self) -> None:
        """Kind, time and way come first."""
        line = line_of(1_769_860_800.25, "x", "inside", {"n": 1})
        head = b'{"kind":"x","time":"2026-01-31T12:00:00.250000Z","way":"inside"'
        self.assertEqual(line, head + b',"n":1}')

    def test_too_long(self) -> None:
        """Its beginning is kept as a text, whatever is in it, and fits a packet."""
        for filling in ("x", '"', "说", "\n"):
            line = line_of(0, "x", "inside", {"text": filling * MAX_LINE})
            shown = json.loads(line)
            self.assertGreater(shown["size"], MAX_LINE)
            self.assertTrue(shown["cut"].startswith('{"kind":"x"'))
            self.assertLessEqual(len(line), MAX_LINE)
            self.assertLess(len(line) + 100, MAX_PAYLOAD)


class RecordTests(SynchronousTestCase):
    """Packets, and memory."""

    def test_captured(self) -> None:
        """A payload as it is, cut or not; without one, the line as a message of syslog."""
        for record, payload, size in (
            (Record(0, b"{}", *ENDS, b"abc", 3), b"abc", 3),
            (Record(0, b"{}", *ENDS, b"abc", 9), b"abc", 9),
            (Record(0, b"{}", *ENDS, None, 0), b"<135>{}", 7),
        ):
            data = record.captured()
            self.assertTrue(data.endswith(payload))
            self.assertEqual(unpack(">I", data[12:16])[0], 28 + size)

    def test_cost(self) -> None:
        """It grows with the line and the payload."""
        costs = [
            Record(0, line, *ENDS, payload, 0).cost()
            for line, payload in ((b"{}", None), (b"{}", b"a" * 5), (b"{}  ", b""))
        ]
        self.assertEqual([cost - costs[0] for cost in costs], [0, 5, 2])
