"""JSON-RPC calls to a device: whose reply is whose, and no call left hanging."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.rpc import (
    FIRST_ID,
    LAST_ID,
    REMEMBERED_IDS,
    Calls,
    McpClosed,
    McpError,
    McpTimeout,
)
from xzgw.wire import messages


class CallsTestCase(SynchronousTestCase):
    """A Calls whose device is the test."""

    first_id = FIRST_ID + 7

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[dict[str, Any]] = []
        self.calls = Calls(self.receive, self.clock, first_id=self.first_id)

    def tearDown(self) -> None:
        self.calls.close("test over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def receive(self, text: bytes) -> None:
        """What the device gets: the payload of an mcp envelope without a session id."""
        message = messages.parse(text)
        self.assertEqual((set(message), message["type"]), ({"type", "payload"}, "mcp"))
        self.sent.append(message["payload"])

    def call(self, method: str = "tools/call") -> tuple[int, Deferred[Any]]:
        """Make a call; its id and its result."""
        result = self.calls.call(method, None, 10)
        # Failures are the tests' to look at; one that nobody looks at is still no unhandled error.
        result.addErrback(lambda failure: failure)
        call_id = self.sent[-1]["id"]
        assert isinstance(call_id, int)
        return call_id, result


class RequestTests(CallsTestCase):
    """What is sent."""

    def test_request(self) -> None:
        """A request is JSON-RPC 2.0 with an id of ours."""
        result = self.calls.call("tools/call", {"name": "self.x"}, 10)
        expected = {
            "jsonrpc": "2.0",
            "id": self.first_id,
            "method": "tools/call",
            "params": {"name": "self.x"},
        }
        self.assertEqual(self.sent, [expected])
        self.assertNoResult(result)
        self.calls.reply({"id": self.first_id, "result": {}})

    def test_no_params(self) -> None:
        """Params are left out rather than null, which firmware refuses."""
        self.call()
        self.assertNotIn("params", self.sent[0])
        self.calls.reply({"id": self.first_id, "result": {}})

    def test_notification(self) -> None:
        """A notification has no id and waits for nothing."""
        self.calls.notify("notifications/initialized")
        self.assertEqual(self.sent, [{"jsonrpc": "2.0", "method": "notifications/initialized"}])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unfit_params(self) -> None:
        """Params that JSON cannot carry are the caller's mistake and leave nothing behind."""
        self.assertRaises(ValueError, self.calls.call, "m", {"a": float("nan")}, 10)
        self.assertEqual((self.sent, self.clock.getDelayedCalls()), ([], []))


class ReplyTests(CallsTestCase):
    """What a reply does to its call."""

    def test_result(self) -> None:
        """The result can be any JSON value."""
        values: list[Any] = [{"a": 1}, [], "text", 0, False, None]
        for value in values:
            call_id, result = self.call()
            self.assertTrue(self.calls.reply({"jsonrpc": "2.0", "id": call_id, "result": value}))
            self.assertEqual(self.successResultOf(result), value)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_out_of_order(self) -> None:
        """Replies find their calls by id alone."""
        first, first_result = self.call()
        second, second_result = self.call()
        self.calls.reply({"id": second, "result": "second"})
        self.assertNoResult(first_result)
        self.calls.reply({"id": first, "result": "first"})
        self.assertEqual(self.successResultOf(first_result), "first")
        self.assertEqual(self.successResultOf(second_result), "second")

    def test_error(self) -> None:
        """The device's error comes with its message and as it is, and outweighs a result."""
        unnamed = "error without a message"
        cases: list[tuple[Any, str]] = [
            ({"message": "Unknown tool: x"}, "Unknown tool: x"),
            ({"code": -32601, "message": ""}, ""),
            ({"code": -32601}, unnamed),
            ({"message": 5}, unnamed),
            ({}, unnamed),
            ("plain", "plain"),
            (0, unnamed),
        ]
        for error, text in cases:
            call_id, result = self.call("tools/call")
            self.assertTrue(self.calls.reply({"id": call_id, "result": {}, "error": error}))
            raised = self.failureResultOf(result, McpError).value
            self.assertEqual((str(raised), raised.error), (text, error))
            self.assertEqual(raised.method, "tools/call")

    def test_null_error(self) -> None:
        """A null error is none."""
        call_id, result = self.call()
        self.calls.reply({"id": call_id, "result": 5, "error": None})
        self.assertEqual(self.successResultOf(result), 5)

    def test_malformed(self) -> None:
        """Neither result nor error is an error."""
        call_id, result = self.call()
        self.assertTrue(self.calls.reply({"id": call_id}))
        raised = self.failureResultOf(result, McpError).value
        self.assertEqual((str(raised), raised.error), ("malformed reply", None))

    def test_not_ours(self) -> None:
        """Ids that only look like ours belong to the server, and so does a request."""
        call_id, result = self.call()
        others: list[Any] = [
            None,
            True,
            1,
            -call_id,
            float(call_id),
            str(call_id),
            call_id + 1,
            [],
            {},
        ]
        for other in others:
            self.assertFalse(self.calls.reply({"id": other, "result": {}}), other)
        self.assertFalse(self.calls.reply({"result": {}}))
        self.assertFalse(self.calls.reply({"id": call_id, "method": "ping"}))
        self.assertNoResult(result)
        self.calls.reply({"id": call_id, "result": {}})

    def test_twice(self) -> None:
        """A second reply to one call is consumed and changes nothing."""
        call_id, result = self.call()
        self.calls.reply({"id": call_id, "result": "first"})
        self.assertTrue(self.calls.reply({"id": call_id, "result": "second"}))
        self.assertEqual(self.successResultOf(result), "first")


class GivenUpTests(CallsTestCase):
    """Calls that end without a reply."""

    def test_timeout(self) -> None:
        """A silent device fails the call when its time is up, not before."""
        result = self.calls.call("initialize", None, 2.5)
        self.clock.advance(2.4)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        raised = self.failureResultOf(result, McpTimeout).value
        self.assertEqual(str(raised), "device did not answer initialize within 2.5 s")

    def test_late(self) -> None:
        """A reply after the time-out is consumed: the server never asked."""
        call_id, result = self.call()
        self.clock.advance(10)
        self.failureResultOf(result, McpTimeout)
        self.assertTrue(self.calls.reply({"id": call_id, "result": {}}))

    def test_cancel(self) -> None:
        """A cancelled call is forgotten at once, and its reply consumed."""
        call_id, result = self.call()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.calls.reply({"id": call_id, "result": {}}))

    def test_bounded(self) -> None:
        """Only so many past ids are remembered; an older one is taken for the server's."""
        ids = []
        for _ in range(REMEMBERED_IDS + 1):
            call_id, result = self.call()
            result.cancel()
            self.failureResultOf(result, CancelledError)
            ids.append(call_id)
        self.assertFalse(self.calls.reply({"id": ids[0], "result": {}}))
        self.assertTrue(self.calls.reply({"id": ids[1], "result": {}}))

    def test_close(self) -> None:
        """The device gone, every call fails at once, later ones too, and replies are not ours."""
        pending = [self.call() for _ in range(3)]
        self.calls.close("connection lost")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for call_id, result in pending:
            raised = self.failureResultOf(result, McpClosed).value
            self.assertEqual(str(raised), "device is gone: connection lost")
            self.assertFalse(self.calls.reply({"id": call_id, "result": {}}))
        self.failureResultOf(self.calls.call("m", None, 10), McpClosed)
        self.assertEqual(len(self.sent), 3)

    def test_close_reentered(self) -> None:
        """Callers that react to the end of their call disturb nobody else's."""
        _, first = self.call()
        _, second = self.call()
        again: list[Deferred[Any]] = []

        def react(failure: object) -> None:
            second.cancel()
            again.append(self.calls.call("m", None, 10))

        first.addErrback(react)
        self.calls.close("connection lost")
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)
        self.failureResultOf(again[0], McpClosed)


class IdTests(CallsTestCase):
    """Our ids stay apart from the server's and from each other."""

    first_id = LAST_ID

    def test_wrap(self) -> None:
        """After the last id comes the first."""
        self.assertEqual([self.call()[0] for _ in range(3)], [LAST_ID, FIRST_ID, FIRST_ID + 1])
        self.forget_all()

    def test_fold(self) -> None:
        """Any first id lands in the range; one within it is taken as it is."""
        for first_id in (0, 1, -1, FIRST_ID, LAST_ID, LAST_ID + 1, 2**64 + 3, -(2**70)):
            self.calls = Calls(self.receive, self.clock, first_id=first_id)
            call_id, _ = self.call()
            self.assertTrue(FIRST_ID <= call_id <= LAST_ID, first_id)
            if FIRST_ID <= first_id <= LAST_ID:
                self.assertEqual(call_id, first_id)
            self.forget_all()

    def test_pending_skipped(self) -> None:
        """An id in use, or used a moment ago, is not taken again."""
        self.call()
        cancelled = self.call()[1]
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.calls._next_id = LAST_ID  # as if once around the whole range
        self.assertEqual(self.call()[0], FIRST_ID + 1)
        self.forget_all()

    def test_server_id_skipped(self) -> None:
        """An id that the server has used is left to it."""
        self.calls.note_server_request(LAST_ID)
        self.calls.note_server_request(FIRST_ID)
        self.assertEqual(self.call()[0], FIRST_ID + 1)
        self.assertFalse(self.calls.reply({"id": LAST_ID, "result": {}}))
        self.forget_all()

    def test_server_takes_old_id(self) -> None:
        """An old id of ours that the server then uses is the server's: its reply gets through."""
        call_id, result = self.call()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.calls.note_server_request(call_id)
        self.assertFalse(self.calls.reply({"id": call_id, "result": {}}))

    def test_other_server_ids(self) -> None:
        """Ids outside our range, or no numbers at all, need no remembering."""
        others: list[Any] = [None, True, 1, "x", 1.5, [], {}, FIRST_ID - 1, LAST_ID + 1]
        for request_id in others:
            self.calls.note_server_request(request_id)
        self.assertEqual(self.calls._server_ids, {})

    def test_server_ids_bounded(self) -> None:
        """The oldest of the server's ids is forgotten first; one used again is not old."""
        for number in range(REMEMBERED_IDS):
            self.calls.note_server_request(FIRST_ID + number)
        self.calls.note_server_request(FIRST_ID)
        self.calls.note_server_request(LAST_ID)
        self.assertEqual(self.call()[0], FIRST_ID + 1)
        self.forget_all()

    def forget_all(self) -> None:
        """Answer everything that is pending."""
        for request in self.sent:
            self.calls.reply({"id": request["id"], "result": None})
        self.assertEqual(self.clock.getDelayedCalls(), [])
