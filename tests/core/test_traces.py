"""All traces: which may start, how they end, and what they hear of the gateway."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.core.phones import SPEECH, goodbye
from tests.core.tracing import ANN, BOB, TracingTestCase
from xzgw.core.door import Conflict, NotConnected
from xzgw.core.trace import FROM_DEVICE
from xzgw.core.trace_types import (
    KEPT,
    MAX_TRACES,
    NoSuchTrace,
    TooManyTraces,
    TraceForm,
    TraceOptions,
    TraceState,
    TraceView,
)
from xzgw.core.traces import TIME_IS_UP
from xzgw.wire.packets import Pingreq


def other(number: int) -> str:
    """The client id of a device that is not there."""
    return f"GID@@@02_00_00_00_00_{number:02x}@@@u"


class LifeTests(TracingTestCase):
    """From its start until it is forgotten."""

    def fails(self, pending: Deferred[Any], kind: type[Exception]) -> str:
        return str(self.failureResultOf(pending, kind).value)

    def start(self, client_id: str) -> Deferred[TraceView]:
        return self.board.door.start_trace(client_id, TraceOptions())

    def test_ends_by_itself(self) -> None:
        """After its time; then it is kept for a while."""
        self.trace(seconds=10)
        self.board.pass_time(9.9)
        view = self.successResultOf(self.board.door.trace(ANN))
        self.assertEqual((view.state, view.until - view.since), (TraceState.RUNNING, 10))
        self.board.pass_time(0.2)
        view = self.successResultOf(self.board.door.trace(ANN))
        self.assertEqual((view.state, view.reason), (TraceState.ENDED, TIME_IS_UP))
        self.board.pass_time(KEPT - 1)
        self.read()
        self.board.pass_time(1)
        self.fails(self.board.door.trace(ANN), NoSuchTrace)

    def test_one_at_a_time(self) -> None:
        """Another one of the device has to wait for its end, and replaces it then."""
        number = self.trace(seconds=10).number
        self.assertIn("is running", self.fails(self.start(ANN), Conflict))
        self.board.pass_time(10)
        self.trace(seconds=20)
        read = self.board.door.read_trace(ANN, number, TraceForm.JSONL, 0)
        self.fails(read, NoSuchTrace)
        self.board.pass_time(KEPT)  # the time of the one before
        self.read()

    def test_few(self) -> None:
        """A few in all, kept ones among them; who asks for more learns which."""
        for n in range(MAX_TRACES):
            self.trace(other(n), seconds=10)
        said = self.fails(self.start(ANN), TooManyTraces)
        self.assertIn(other(0), said)
        self.board.pass_time(10)
        self.fails(self.start(ANN), TooManyTraces)
        self.trace(other(1))  # which only replaces its own
        self.successResultOf(self.board.door.forget_trace(other(0)))
        self.trace(ANN)

    def test_forget(self) -> None:
        """While it runs and after; what is not there cannot be forgotten."""
        self.trace()
        self.successResultOf(self.board.door.forget_trace(ANN))
        self.fails(self.board.door.forget_trace(ANN), NoSuchTrace)
        self.fails(self.board.door.trace(ANN), NoSuchTrace)
        self.trace(seconds=1)
        self.board.pass_time(1)
        self.successResultOf(self.board.door.forget_trace(ANN))
        self.fails(self.board.door.trace(ANN), NoSuchTrace)

    def test_impossible(self) -> None:
        """Nobody can ever have a client id like this."""
        for client_id in ("nobody", "a@@@b@@@c", "x" * 100_000):
            self.fails(self.start(client_id), NotConnected)

    def test_gateway_stops(self) -> None:
        """All are forgotten, and no time is kept for them."""
        self.trace()
        self.trace(BOB, seconds=1)
        self.board.pass_time(1)
        self.board.gateway.stop("over")
        self.assertEqual(self.board.clock.getDelayedCalls(), [])


class HearingTests(TracingTestCase):
    """What gets into a trace; audio is tested with trace_tap."""

    def test_session(self) -> None:
        """A whole session of a device that was not there when the trace began."""
        self.trace()
        ann = self.phone(0, "s1")
        ann.says({"type": "listen", "session_id": "s1"})
        ann.server.says(b'{"type":"stt","text":"hello"}')
        ann.says(goodbye("s1"))
        self.board.gateway.leave(ann.device, "lost")
        steps = [(line["event"], line["state"]) for line in self.lines("session")]
        expected = [
            ("device_hello", "dialing"),
            ("backend_opened", "dialing"),
            ("backend_hello", "live"),
            ("device_goodbye", "idle"),
            ("device_lost", "gone"),
        ]
        self.assertEqual(steps, expected)
        events = [line["event"] for line in self.lines("event")]
        self.assertEqual(events, ["connect", "session_start", "session_end", "disconnect"])

    def test_server_texts(self) -> None:
        """What the server hears and says, answers of the gateway's own included."""
        self.trace()
        ann = self.phone(0, "s1")
        ann.says({"type": "listen"})
        ann.server.says(b'{"type":"mcp","payload":{"method":"initialize","params":{"token":"t"}}}')
        ann.server.says("认证失败".encode())
        lines = self.lines("server")
        self.assertEqual(
            [(line["way"], line.get("message", {}).get("type")) for line in lines],
            [
                ("to_server", "hello"),
                ("from_server", "hello"),
                ("to_server", "listen"),
                ("from_server", "mcp"),
                ("from_server", None),
            ],
        )
        self.assertEqual(lines[3]["message"]["payload"]["params"], {"token": "***"})
        self.assertEqual((lines[4]["start"], lines[4]["fault"]), ("认证失败", "not JSON"))

    def test_in_the_middle(self) -> None:
        """A trace that begins in the middle of a session, or of a dial, misses nothing after."""
        ann = self.phone(0, "s1")
        self.trace()
        self.assertEqual([line["state"] for line in self.lines("session")], ["live"])
        ann.server.says(b'{"type":"stt"}')
        self.assertEqual([line["way"] for line in self.lines("server")], ["from_server"])
        self.successResultOf(self.board.door.forget_trace(ANN))
        ann.says(goodbye("s1"))
        ann.says({"type": "hello", "version": 3, "transport": "udp"})
        self.trace()
        self.board.around.dialer.dials[-1].open()
        self.assertEqual([line["way"] for line in self.lines("server")], ["to_server"])

    def test_packets(self) -> None:
        """Control packets by the client id that they come with, of others none."""
        traces = self.board.around.services.traces
        self.trace()
        traces.packet(ANN, FROM_DEVICE, Pingreq())
        traces.packet(BOB, FROM_DEVICE, Pingreq())
        self.assertEqual([line["packet"] for line in self.lines("mqtt")], ["pingreq"])

    def test_others(self) -> None:
        """Nothing of another device."""
        self.trace()
        bob = self.phone(1, "s2")
        bob.speaks(SPEECH[1])
        bob.server.says(b'{"type":"stt"}')
        self.assertEqual(self.lines(), [])

    def test_two(self) -> None:
        """Two traces, each of its own device; the end of one is not that of the other."""
        self.trace(ANN, seconds=5)
        self.trace(BOB)
        ann, bob = self.phone(0, "s1"), self.phone(1, "s2")
        self.board.pass_time(5)
        for phone in (ann, bob):
            phone.says({"type": "listen"})
        self.assertEqual(self.lines("end")[0]["reason"], TIME_IS_UP)
        said = [line["message"]["type"] for line in self.lines("server", BOB)]
        self.assertEqual(said, ["hello", "hello", "listen"])
        said = [line["message"]["type"] for line in self.lines("server", ANN)]
        self.assertEqual(said, ["hello", "hello"])
