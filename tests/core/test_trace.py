"""One recording: its records, its bounds, and what is handed out of it."""

from __future__ import annotations

import json
from struct import unpack
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.session_types import BackendText, DeviceHelloRefused, DeviceText, Idle, Live
from xzgw.core.trace import (
    FROM_DEVICE,
    FROM_SERVER,
    FULL,
    SLICE,
    TO_DEVICE,
    TO_SERVER,
    Datagram,
    Trace,
)
from xzgw.core.trace_record import MAX_LINE
from xzgw.core.trace_types import LEAST_BYTES, TraceForm, TraceOptions, TraceState
from xzgw.wire.audio import server_audio
from xzgw.wire.packets import Connack, Connect, Pingreq, Publish, Subscribe, Will

CLIENT = "GID@@@02_00_00_00_00_01@@@u"
NOW = 1_769_860_800.0  # 2026-01-31T12:00:00Z
DEVICE = ("192.0.2.7", 40000)
GATEWAY = ("192.0.2.1", 8884)


class TraceTestCase(SynchronousTestCase):
    """A trace without audio, unless a test starts another one."""

    def setUp(self) -> None:
        self.now = NOW
        self.full = 0
        self.start(TraceOptions())

    def start(self, options: TraceOptions) -> None:
        self.trace = Trace(CLIENT, 1, options, lambda: self.now, self.note_full)
        self.trace.device, self.trace.gateway = DEVICE[0], GATEWAY[0]

    def note_full(self) -> None:
        """As the gateway does."""
        self.full += 1
        self.trace.end(FULL)

    def lines(self) -> list[Any]:
        """The records, without the trace's own head."""
        return [json.loads(line) for line in self.read(TraceForm.JSONL).splitlines()[1:]]

    def one(self) -> Any:
        """The only record, without what all have."""
        (line,) = self.lines()
        self.assertEqual(line.pop("time"), "2026-01-31T12:00:00.000000Z")
        return line

    def read(self, form: TraceForm) -> bytes:
        parts, at = [], 0
        while True:
            piece = self.trace.slice(form, at)
            parts.append(piece.data)
            if piece.following is None:
                return b"".join(parts)
            at = piece.following

    def captured(self) -> list[bytes]:
        """The packets of the capture file, from their IP headers on."""
        data, found = self.read(TraceForm.PCAP)[24:], []
        while data:
            size = unpack(">I", data[8:12])[0]
            found.append(data[16 : 16 + size])
            data = data[16 + size :]
        return found


class PacketTests(TraceTestCase):
    """MQTT control packets."""

    def test_publish(self) -> None:
        """The message is there as JSON, its secrets masked, its size as it came."""
        text = b'{"type":"hello","udp":{"key":"0011"}}'
        self.trace.packet(TO_DEVICE, Publish("devices/p2p/x", text))
        expected = {
            "kind": "mqtt",
            "way": "to_device",
            "packet": "publish",
            "topic": "devices/p2p/x",
            "qos": 0,
            "size": len(text),
            "message": {"type": "hello", "udp": {"key": "***"}},
        }
        self.assertEqual(self.one(), expected)

    def test_connect(self) -> None:
        """Everything but the password, and of a will its topic."""
        will = Will("t", b"secret", 0, retain=False)
        self.trace.packet(FROM_DEVICE, Connect(CLIENT, "e30=", b"secret", 240, True, 4, will))
        line = self.one()
        self.assertEqual((line["packet"], line["password"], line["will"]), ("connect", "***", "t"))
        self.assertEqual((line["username"], line["keep_alive"]), ("e30=", 240))
        self.assertNotIn(b"secret", self.read(TraceForm.JSONL))

    def test_connect_without_password(self) -> None:
        """That there is none is told."""
        self.trace.packet(FROM_DEVICE, Connect(CLIENT, None, None, 0, True, 4, None))
        line = self.one()
        self.assertEqual((line["password"], line["will"], line["username"]), (None, None, None))

    def test_others(self) -> None:
        """All that they have."""
        self.trace.packet(TO_DEVICE, Connack(4))
        self.trace.packet(FROM_DEVICE, Subscribe(7, (("a", 1),)))
        self.trace.packet(FROM_DEVICE, Pingreq())
        connack, subscribe, ping = self.lines()
        self.assertEqual((connack["packet"], connack["return_code"]), ("connack", 4))
        self.assertEqual((subscribe["packet_id"], subscribe["filters"]), (7, [["a", 1]]))
        self.assertEqual(ping["packet"], "pingreq")

    def test_long(self) -> None:
        """Of a very long record some is left out, and its size told."""
        self.trace.message("server", FROM_SERVER, b'{"a":"%s"}' % (b'"' * 3 + b"x" * MAX_LINE))
        self.trace.message("server", FROM_SERVER, json.dumps({"a": "说" * MAX_LINE}).encode())
        for line in self.lines():
            self.assertEqual((line["kind"], line["way"]), ("server", "from_server"))
        self.assertGreater(self.lines()[1]["size"], MAX_LINE)
        self.assertIn("说说", self.lines()[1]["cut"])
        self.assertLess(len(self.read(TraceForm.JSONL)), MAX_LINE)


class SessionTests(TraceTestCase):
    """States of the session machine."""

    def test_changes(self) -> None:
        """What was taken, and the state that it led to."""
        self.trace.session(DeviceHelloRefused("no room"), Idle())
        expected = {
            "kind": "session",
            "way": "inside",
            "event": "device_hello_refused",
            "state": "idle",
            "reason": "no room",
        }
        self.assertEqual(self.one(), expected)
        self.trace.session(None, Live(3, "s1"))
        line = self.lines()[1]
        self.assertEqual((line["event"], line["state"]), (None, "live"))
        self.assertEqual((line["link"], line["session_id"]), (3, "s1"))

    def test_texts(self) -> None:
        """Texts change nothing and have records of their own; unless the state is new."""
        live, text = Live(3, "s1"), DeviceText(b"{}", "listen", "s1")
        self.trace.session(text, live)
        self.trace.session(text, live)
        self.trace.session(BackendText(3, b"{}"), live)
        self.assertEqual(len(self.lines()), 1)


class AudioTests(TraceTestCase):
    """Datagrams, and the messages of servers."""

    def test_server_audio(self) -> None:
        """The header; of what has none, the size."""
        self.trace.server_audio(server_audio(7, 420, bytes(100)))
        header = {"sequence": 7, "timestamp": 420, "length": 100, "opus_length": 100}
        common = {"kind": "server_audio", "way": "from_server"}
        self.assertEqual(self.one(), {**common, "size": 116, **header})
        self.trace.server_audio(b"short")
        self.assertEqual(self.lines()[1]["size"], 5)

    def test_datagram(self) -> None:
        """Where from, and what is known of it; captured cut off."""
        members = {"size": 200, "sequence": 1}
        self.trace.datagram(Datagram(FROM_DEVICE, DEVICE, GATEWAY, members, b"h" * 16, 200), b"no")
        common = {"kind": "datagram", "way": "from_device"}
        self.assertEqual(self.one(), {**common, "address": DEVICE[0], "port": DEVICE[1], **members})
        (packet,) = self.captured()
        self.assertEqual(packet[12:20], bytes([192, 0, 2, 7, 192, 0, 2, 1]))
        self.assertEqual(unpack(">3H", packet[20:26]), (40000, 8884, 208))
        self.assertEqual(packet[28:], b"h" * 16)

    def test_to_device(self) -> None:
        """The other way round."""
        self.trace.datagram(Datagram(TO_DEVICE, DEVICE, GATEWAY, {}, b"h", 1))
        (packet,) = self.captured()
        self.assertEqual(packet[12:20], bytes([192, 0, 2, 1, 192, 0, 2, 7]))
        self.assertEqual(unpack(">2H", packet[20:24]), (8884, 40000))

    def test_with_audio(self) -> None:
        """What is said is in the line, too, if that was asked for."""
        self.start(TraceOptions(audio=True))
        self.trace.datagram(Datagram(TO_DEVICE, DEVICE, GATEWAY, {}, b"h", 1), b"\0\xff\0")
        self.assertEqual(self.one()["opus"], "AP8A")


class CaptureTests(TraceTestCase):
    """All that is no datagram of audio, in a capture file."""

    def test_syslog(self) -> None:
        """A message of syslog with the line, from who said it to who heard it."""
        ends = {
            FROM_DEVICE: "c0000207 c0000201",
            TO_DEVICE: "c0000201 c0000207",
            FROM_SERVER: "00000000 c0000201",
            TO_SERVER: "c0000201 00000000",
            "inside": "c0000201 c0000201",
        }
        for way in ends:
            self.trace.note("x", way, n=1)
        lines = self.read(TraceForm.JSONL).splitlines()[1:]
        for packet, expected, line in zip(self.captured(), ends.values(), lines, strict=True):
            self.assertEqual(packet[12:20], bytes.fromhex(expected))
            self.assertEqual(unpack(">2H", packet[20:24]), (514, 514))
            self.assertEqual(packet[28:], b"<135>" + line)


class BoundTests(TraceTestCase):
    """Memory, and what is told of a trace."""

    def test_view(self) -> None:
        """While it runs, and after."""
        self.trace.note("x", TO_SERVER)
        view = self.trace.view()
        self.assertEqual((view.client_id, view.number, view.records), (CLIENT, 1, 1))
        self.assertEqual((view.state, view.reason), (TraceState.RUNNING, ""))
        self.assertEqual((view.since, view.until), (NOW, NOW + 60))
        self.now += 5
        self.trace.end("enough")
        view = self.trace.view()
        self.assertEqual((view.state, view.reason), (TraceState.ENDED, "enough"))
        self.assertEqual((view.until, view.records), (NOW + 5, 2))

    def test_head(self) -> None:
        """The first line tells what this is, and whether it is over."""
        self.trace.end("enough")
        head = json.loads(self.read(TraceForm.JSONL).splitlines()[0])
        expected = {
            "kind": "trace",
            "time": "2026-01-31T12:00:00.000000Z",
            "way": "inside",
            "client_id": CLIENT,
            "state": "ended",
            "reason": "enough",
            "seconds": 60,
            "audio": False,
            "max_bytes": 8388608,
            "records": 1,
        }
        self.assertEqual(head, expected)

    def test_full(self) -> None:
        """It ends when its memory is used up, says so, and takes nothing more."""
        self.start(TraceOptions(max_bytes=LEAST_BYTES))
        for n in range(1000):
            self.trace.note("x", TO_SERVER, n=n, text="x" * 100)
        lines = self.lines()
        self.assertEqual(self.full, 1)
        self.assertEqual([line["n"] for line in lines[:-1]], list(range(len(lines) - 1)))
        self.assertEqual((lines[-1]["kind"], lines[-1]["reason"]), ("end", FULL))
        self.assertGreater(self.trace.view().used, LEAST_BYTES - 1000)
        self.assertLess(self.trace.view().used, LEAST_BYTES + 1000)

    def test_slices(self) -> None:
        """It is handed out piece by piece, each of a bounded size, nothing twice or missing."""
        for n in range(1000):
            self.trace.note("x", TO_SERVER, n=n, text="x" * 500)
        self.assertEqual([line["n"] for line in self.lines()], list(range(1000)))
        self.assertEqual(len(self.captured()), 1000)
        for form in TraceForm:
            piece = self.trace.slice(form, 0)
            self.assertLess(len(piece.data), SLICE + MAX_LINE)
            self.assertIsNotNone(piece.following)
