"""/v1/devices/{client_id}/trace"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.fakes import CLIENT_ID, MemoryDoor, device
from tests.admin.support import NOW, PATH, TOKEN, AdminTestCase, new_app, new_site
from xzgw.admin.event_stream import EventStream
from xzgw.core.events import Events
from xzgw.core.trace_types import (
    LEAST_BYTES,
    MAX_BYTES,
    MAX_TRACES,
    TraceForm,
    TraceOptions,
    TraceSlice,
)

TRACE = PATH + "/trace"


class StartTests(AdminTestCase):
    """POST"""

    def test_started(self) -> None:
        """The trace as it is, with times for people."""
        answer = self.ask("POST", TRACE, {"seconds": 5, "audio": True, "max_bytes": LEAST_BYTES})
        self.assertEqual(answer.status, 201)
        expected = {
            "client_id": CLIENT_ID,
            "state": "running",
            "reason": None,
            "since": "2026-01-31T11:59:00.000Z",
            "until": "2026-01-31T11:59:05.000Z",
            "seconds": 5,
            "audio": True,
            "max_bytes": LEAST_BYTES,
            "records": 0,
            "bytes": 0,
        }
        self.assertEqual(answer.json, expected)

    def test_defaults(self) -> None:
        """A minute, without audio; 600.0 is a whole number, too."""
        self.assertEqual(self.ask("POST", TRACE, {}).status, 201)
        self.assertEqual(self.door.traces[CLIENT_ID].options, TraceOptions(60, False, MAX_BYTES))
        self.door.traces = {}
        self.assertEqual(self.ask("POST", TRACE, {"seconds": 600.0}).json["seconds"], 600)

    def test_bad_options(self) -> None:
        """Each is told what it may be."""
        seconds = "seconds must be a whole number from 1 to 600"
        value: object
        for value in (0, 601, "5", True, None, 1.5, -1, []):
            self.assertProblem(self.ask("POST", TRACE, {"seconds": value}), 400, seconds)
        size = f"max_bytes must be a whole number from {LEAST_BYTES} to {MAX_BYTES}"
        for value in (LEAST_BYTES - 1, MAX_BYTES + 1):
            self.assertProblem(self.ask("POST", TRACE, {"max_bytes": value}), 400, size)
        for other in (1, "yes", None):
            answer = self.ask("POST", TRACE, {"audio": other})
            self.assertProblem(answer, 400, "audio must be true or false")
        only = "members here are seconds, audio, max_bytes only"
        self.assertProblem(self.ask("POST", TRACE, {"second": 5}), 400, only)
        self.assertEqual(self.door.traces, {})

    def test_refused(self) -> None:
        """A trace that runs already; too many; a client id that cannot be."""
        self.ask("POST", TRACE, {})
        answer = self.ask("POST", TRACE, {})
        self.assertProblem(answer, 409, "a trace of this device is running")
        self.door.traces = {str(n): self.door.traces[CLIENT_ID] for n in range(MAX_TRACES)}
        self.assertProblem(self.ask("POST", TRACE, {}), 429, "there are traces already")
        answer = self.ask("POST", f"/v1/devices/{quote('no/body', safe='')}/trace", {})
        self.assertProblem(answer, 404, "no device with this client id is connected")


class ReadTests(AdminTestCase):
    """GET"""

    def setUp(self) -> None:
        super().setUp()
        self.door.start_trace(CLIENT_ID, TraceOptions())

    def test_lines(self) -> None:
        """All pieces, one after the other."""
        self.door.pieces = [b'{"n":1}\n', b'{"n":2}\n', b""]
        for query in ("", "?format=jsonl"):
            answer = self.ask("GET", TRACE + query)
            self.assertEqual((answer.status, answer.body), (200, b'{"n":1}\n{"n":2}\n'))
            self.assertEqual(answer.headers["content-type"], "application/x-ndjson")

    def test_pcap(self) -> None:
        """Bytes, with a name for their file."""
        self.door.pieces = [b"\xa1\xb2", b"\0"]
        answer = self.ask("GET", TRACE + "?format=pcap")
        self.assertEqual((answer.status, answer.body), (200, b"\xa1\xb2\0"))
        self.assertEqual(answer.headers["content-type"], "application/vnd.tcpdump.pcap")
        disposition = 'attachment; filename="trace.pcap"'
        self.assertEqual(answer.headers["content-disposition"], disposition)

    def test_bad_queries(self) -> None:
        """A format that does not exist, a parameter that does not."""
        answer = self.ask("GET", TRACE + "?format=csv")
        self.assertProblem(answer, 400, "format must be one of jsonl, pcap")
        answer = self.ask("GET", TRACE + "?form=pcap")
        self.assertProblem(answer, 400, "query parameters here are format only")

    def test_none(self) -> None:
        """No trace; no token."""
        self.door.traces = {}
        self.assertProblem(self.ask("GET", TRACE), 404, "there is no trace of this device")
        for method, body in (("GET", None), ("POST", {}), ("DELETE", None)):
            self.assertEqual(self.ask(method, TRACE, body, token=None).status, 401)


class ForgetTests(AdminTestCase):
    """DELETE"""

    def test_forget(self) -> None:
        """Once."""
        self.door.start_trace(CLIENT_ID, TraceOptions())
        self.assertEqual(self.ask("DELETE", TRACE).status, 204)
        self.assertEqual(self.door.traces, {})
        self.assertProblem(self.ask("DELETE", TRACE), 404, "there is no trace of this device")


class WatchedDoor(MemoryDoor):
    """Counts the pieces that are asked for."""

    read = 0
    on_read: Callable[[], None] = staticmethod(lambda: None)

    def read_trace(
        self, client_id: str, number: int, form: TraceForm, start: int
    ) -> Deferred[TraceSlice]:
        self.read += 1
        self.on_read()
        return super().read_trace(client_id, number, form, start)


class FlowTests(SynchronousTestCase):
    """A caller that is slow, or gone."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = WatchedDoor(device())
        self.door.pieces = [b"%d\n" % n for n in range(5)]
        self.door.start_trace(CLIENT_ID, TraceOptions())
        stream = EventStream(Events(lambda: NOW, "run"), self.clock)
        site = new_site(new_app(self.door, stream, self.clock), self.clock)
        self.channel: Any = site.buildProtocol(None)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def lose(self) -> None:
        """The connection ends."""
        self.channel.connectionLost(Failure(connectionDone.value))

    def begin(self) -> None:
        """Ask, and take no more than the first two pieces."""
        self.door.on_read = self.channel.pauseProducing  # as the transport does when it is full
        lines = (f"GET {TRACE} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "", "")
        self.channel.dataReceived("\r\n".join(lines).encode())
        self.door.on_read = lambda: None

    def test_slow(self) -> None:
        """A piece is asked for when there is room for it."""
        self.begin()
        self.assertEqual(self.door.read, 2)
        self.channel.resumeProducing()
        self.assertEqual(self.door.read, 5)
        self.assertTrue(self.transport.value().endswith(b"2\r\n4\n\r\n0\r\n\r\n"))
        self.lose()

    def test_gone(self) -> None:
        """Nothing more is read for one that has hung up."""
        self.begin()
        self.lose()
        self.channel.resumeProducing()
        self.assertEqual(self.door.read, 2)

    def test_forgotten_meanwhile(self) -> None:
        """What is cut short does not end like a whole answer."""
        self.begin()
        view = self.door.traces[CLIENT_ID]
        self.door.traces[CLIENT_ID] = replace(view, number=view.number + 1)
        self.channel.resumeProducing()
        self.assertFalse(self.transport.value().endswith(b"0\r\n\r\n"))
        self.assertTrue(self.transport.disconnected)
        self.lose()
