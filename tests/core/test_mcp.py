"""Discovery of a device's tools, and what the server is spared."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.mcp import MAX_CURSOR, TOOL_SIZE, Answer, McpClient, McpClosed, PassOn, Swallow
from xzgw.core.rpc import FIRST_ID
from xzgw.wire import messages

INFO = {"name": "bread-compact-wifi", "version": "2.0.3"}
INITIALIZED = {
    "protocolVersion": "2024-11-05",
    "capabilities": {"tools": {}},
    "serverInfo": INFO,
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


def tool(number: int) -> dict[str, Any]:
    """A tool as a device describes it."""
    return {"name": f"self.tool_{number}", "description": "音量", "inputSchema": {}}


class McpTestCase(SynchronousTestCase):
    """An McpClient whose device is the test."""

    max_tools_count = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[dict[str, Any]] = []
        self.mcp = McpClient(
            lambda text: self.sent.append(messages.parse(text)["payload"]),
            self.clock,
            capabilities={"vision": {}},
            client_info={"name": "xzgw", "version": "1"},
            max_tools_count=self.max_tools_count,
            first_id=FIRST_ID,
        )

    def tearDown(self) -> None:
        self.mcp.close("test over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def device_says(self, **members: Any) -> None:
        """The device answers our newest request."""
        self.assertTrue(self.mcp.reply({"jsonrpc": "2.0", "id": self.sent[-1]["id"], **members}))

    def start(self, *pages: Any) -> Deferred[str]:
        """Discovery up to and with these results of tools/list."""
        done = self.mcp.start()
        self.device_says(result=INITIALIZED)
        for page in pages:
            self.device_says(result=page)
        return done

    def assertIncomplete(self, done: Deferred[str], status: str) -> None:
        """Discovery has ended with that status, and the tools are not all there are."""
        self.assertEqual(self.successResultOf(done), status)
        self.assertEqual(self.mcp.status, status)
        self.assertFalse(self.mcp.complete)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DiscoveryTests(McpTestCase):
    """After CONNECT the device is asked who it is and what it can do."""

    def test_conversation(self) -> None:
        """initialize, notifications/initialized, then tools/list until no cursor comes."""
        done = self.start({"tools": [tool(0), tool(1)], "nextCursor": "self.tool_2"})
        self.assertNoResult(done)
        self.assertFalse(self.mcp.complete)
        self.device_says(result={"tools": [tool(2)]})
        about_us = {
            "protocolVersion": "2024-11-05",
            "capabilities": {"vision": {}},
            "clientInfo": {"name": "xzgw", "version": "1"},
        }
        expected: list[dict[str, Any]] = [
            {"id": FIRST_ID, "method": "initialize", "params": about_us},
            {"method": "notifications/initialized"},
            {"id": FIRST_ID + 1, "method": "tools/list", "params": {}},
            {"id": FIRST_ID + 2, "method": "tools/list", "params": {"cursor": "self.tool_2"}},
        ]
        self.assertEqual(self.sent, [{"jsonrpc": "2.0", **message} for message in expected])
        self.assertEqual(self.successResultOf(done), "device has 3 tools")
        self.assertEqual(self.mcp.tools, (tool(0), tool(1), tool(2)))
        self.assertTrue(self.mcp.complete)

    def test_status(self) -> None:
        """There is a sentence for each stage."""
        self.assertEqual(self.mcp.status, "device was not asked for its tools yet")
        self.mcp.start()
        self.assertEqual(self.mcp.status, "device is being asked for its tools")

    def test_no_tools(self) -> None:
        """A device without tools is complete; an empty or null cursor is none."""
        ends: list[dict[str, Any]] = [{}, {"nextCursor": ""}, {"nextCursor": None}]
        for end in ends:
            self.setUp()
            self.assertEqual(
                self.successResultOf(self.start({"tools": [], **end})), "device has 0 tools"
            )
            self.assertTrue(self.mcp.complete)

    def test_anonymous(self) -> None:
        """A device that does not say who it is is still asked for its tools."""
        results: list[Any] = [None, [], {}, {"serverInfo": "x"}]
        for result in results:
            self.setUp()
            done = self.mcp.start()
            self.device_says(result=result)
            self.device_says(result={"tools": [tool(0)]})
            self.assertEqual(self.successResultOf(done), "device has 1 tools")

    def test_exactly_the_limit(self) -> None:
        """As many tools as are kept, and no more to come, is complete."""
        done = self.start({"tools": [tool(n) for n in range(4)]})
        self.assertEqual(self.successResultOf(done), "device has 4 tools")
        self.assertTrue(self.mcp.complete)

    def test_beyond_the_limit(self) -> None:
        """Tools beyond the limit are not kept, and no further page is asked for."""
        first = {"tools": [tool(0), tool(1)], "nextCursor": "a"}
        for second in (
            {"tools": [tool(2), tool(3), tool(4)]},
            {"tools": [tool(2), tool(3)], "nextCursor": "b"},
        ):
            self.setUp()
            done = self.start(first, second)
            self.assertIncomplete(done, "device has more than the 4 tools that are kept")
            self.assertEqual(self.mcp.tools, tuple(tool(n) for n in range(4)))
            self.assertEqual(len(self.sent), 4)

    def test_too_large(self) -> None:
        """Nor is more kept than a bounded number of bytes, however few tools they are."""
        half = {"name": "a", "description": "x" * (4 * TOOL_SIZE // 2 - 29)}
        full = self.start({"tools": [half, half]})
        self.assertEqual(self.successResultOf(full), "device has 2 tools")
        self.setUp()
        done = self.start({"tools": [half], "nextCursor": "b"}, {"tools": [half, {"name": "c"}]})
        self.assertIncomplete(done, "device has more than the 32 KiB of tools that are kept")
        self.assertEqual(self.mcp.tools, (half, half))
        self.assertEqual(self.mcp.tools_count, 2)

    def test_repeated_cursor(self) -> None:
        """A cursor that comes again would lead in circles."""
        done = self.start(
            {"tools": [tool(0)], "nextCursor": "a"},
            {"tools": [tool(1)], "nextCursor": "b"},
            {"tools": [tool(2)], "nextCursor": "a"},
        )
        status = "device sent the same page cursor twice while listing its tools"
        self.assertIncomplete(done, status)
        self.assertEqual(self.mcp.tools, (tool(0), tool(1), tool(2)))

    def test_malformed_page(self) -> None:
        """A page that is not one ends discovery; nothing of it is kept."""
        pages: list[Any] = [
            None,
            [],
            "x",
            {},
            {"tools": None},
            {"tools": {}},
            {"tools": ["x"]},
            {"tools": [tool(1), None]},
            {"tools": [{"description": "no name"}]},
            {"tools": [{"name": 5}]},
            {"tools": [tool(1)], "nextCursor": 5},
            {"tools": [tool(1)], "nextCursor": ["a"]},
            {"tools": [tool(1)], "nextCursor": "a" * (MAX_CURSOR + 1)},
            {"tools": [], "nextCursor": "b"},
        ]
        for page in pages:
            self.setUp()
            done = self.start({"tools": [tool(0)], "nextCursor": "a"}, page)
            self.assertIncomplete(done, "device sent a malformed page of tools")
            self.assertEqual(self.mcp.tools, (tool(0),))

    def test_silent_device(self) -> None:
        """10 s without an answer end discovery, whichever the request."""
        done = self.mcp.start()
        self.clock.advance(9.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        self.assertIncomplete(done, "device did not answer initialize within 10 s")

    def test_silent_later(self) -> None:
        """Each request has its own 10 s, and what was listed before stays listed."""
        done = self.mcp.start()
        self.clock.advance(9)
        self.device_says(result=INITIALIZED)
        self.clock.advance(9)
        self.device_says(result={"tools": [tool(0)], "nextCursor": "a"})
        self.clock.advance(10)
        self.assertIncomplete(done, "device did not answer tools/list within 10 s")
        self.assertEqual(self.mcp.tools, (tool(0),))

    def test_refusing_device(self) -> None:
        """An error ends discovery; its text is fit for a log."""
        done = self.mcp.start()
        self.device_says(error={"message": "no\nway\x1b[2J" + "x" * 9999})
        status = "device answered initialize with an error: no way [2J" + "x" * 190
        self.assertIncomplete(done, status)

    def test_lost_device(self) -> None:
        """A connection that ends meanwhile ends discovery, without an unhandled error."""
        done = self.mcp.start()
        self.mcp.close("connection lost")
        self.assertIncomplete(done, "device is gone: connection lost")

    def test_lost_in_send(self) -> None:
        """The connection may end inside our own sending."""

        def send(_: bytes) -> None:
            mcp.close("does not read")

        mcp = McpClient(
            send, self.clock, capabilities={}, client_info={}, max_tools_count=4, first_id=0
        )
        self.assertEqual(self.successResultOf(mcp.start()), "device is gone: does not read")

    def test_cancel(self) -> None:
        """Discovery can be given up; that too is an end, not an error."""
        done = self.start()
        done.cancel()
        self.assertIncomplete(done, "listing the device's tools was given up")


class CallTests(McpTestCase):
    """Calls on behalf of others."""

    def test_call(self) -> None:
        """A caller gets the result; replies to others' ids are not ours."""
        result = self.mcp.call("tools/call", {"name": "self.x"})
        self.assertFalse(self.mcp.reply({"id": 1, "result": {}}))
        self.device_says(result={"content": []})
        self.assertEqual(self.successResultOf(result), {"content": []})

    def test_timeout(self) -> None:
        """A caller may wait for less than the usual 10 s."""
        usual, short = self.mcp.call("a"), self.mcp.call("b", timeout=5)
        self.clock.advance(5)
        self.assertIn("within 5 s", str(self.failureResultOf(short).value))
        self.assertNoResult(usual)
        self.clock.advance(5)
        self.assertIn("within 10 s", str(self.failureResultOf(usual).value))

    def test_close(self) -> None:
        """Callers hear at once that the device is gone."""
        result = self.mcp.call("a")
        self.mcp.close("connection lost")
        self.failureResultOf(result, McpClosed)


class ServerTests(McpTestCase):
    """What the server asks of the device."""

    def ask(self, **members: Any) -> Any:
        """The verdict on a server's tools/list, changed by members; None takes one away."""
        payload = {key: value for key, value in {**LIST, **members}.items() if value is not None}
        return self.mcp.answer_server({"type": "mcp", "session_id": "s", "payload": payload})

    def test_list_answered(self) -> None:
        """A complete list answers the plain tools/list under the server's own id."""
        self.start({"tools": [tool(0)], "nextCursor": "a"}, {"tools": [tool(1)]})
        expected = {"jsonrpc": "2.0", "id": 2, "result": {"tools": [tool(0), tool(1)]}}
        self.assertEqual(self.ask(), Answer(expected))
        for params in ({}, {"cursor": None}, {"cursor": ""}):
            self.assertEqual(self.ask(params=params), Answer(expected), params)
        explicit = {"payload": {**LIST, "params": None}}
        self.assertEqual(self.mcp.answer_server(explicit), Answer(expected))
        self.assertEqual(self.ask(id="x"), Answer({**expected, "id": "x"}))
        self.assertEqual(self.ask(id=0), Answer({**expected, "id": 0}))

    def test_list_passed_on(self) -> None:
        """Whatever the list was not made for goes to the device."""
        self.start({"tools": [tool(0)]})
        others: list[Any] = [
            {"cursor": "a"},
            {"cursor": 0},
            {"withUserTools": True},
            {"withUserTools": False},
            {"cursor": "", "withUserTools": True},
            [],
            "",
            0,
            False,
        ]
        for params in others:
            self.assertEqual(self.ask(params=params), PassOn(), params)

    def test_malformed_passed_on(self) -> None:
        """A tools/list that is no proper request is the device's to judge."""
        self.start({"tools": [tool(0)]})
        self.assertEqual(self.ask(id=None), PassOn())
        self.assertEqual(self.mcp.answer_server({"payload": {**LIST, "id": None}}), PassOn())
        others: list[Any] = [True, 1.5, [], {}]
        for request_id in others:
            self.assertEqual(self.ask(id=request_id), PassOn(), request_id)
        for version in ("1.0", 2.0, None):
            self.assertEqual(self.ask(jsonrpc=version), PassOn(), version)

    def test_incomplete(self) -> None:
        """Until the list is complete, everything goes to the device."""
        initialized = {"payload": {"jsonrpc": "2.0", "method": "notifications/initialized"}}
        self.assertEqual(self.ask(), PassOn())
        self.assertEqual(self.mcp.answer_server(initialized), PassOn())
        self.start({"tools": [tool(n) for n in range(5)]})
        self.assertEqual(self.ask(), PassOn())
        self.assertEqual(self.mcp.answer_server(initialized), PassOn())

    def test_initialized(self) -> None:
        """The device had its notifications/initialized from us; one with an id is none."""
        self.start({"tools": []})
        payload = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self.assertEqual(self.mcp.answer_server({"payload": payload}), Swallow())
        self.assertEqual(self.mcp.answer_server({"payload": {**payload, "id": 1}}), PassOn())

    def test_everything_else(self) -> None:
        """initialize, tools/call, the unknown and the malformed go to the device."""
        self.start({"tools": [tool(0)]})
        for method in ("initialize", "tools/call", "ping", "notifications/cancelled", 5, None):
            self.assertEqual(self.ask(method=method), PassOn(), method)
        payloads: list[Any] = [None, [], [LIST], "x", 1, {}]
        for payload in payloads:
            self.assertEqual(self.mcp.answer_server({"payload": payload}), PassOn(), payload)
        self.assertEqual(self.mcp.answer_server({}), PassOn())

    def test_server_in_our_range(self) -> None:
        """An id that the server uses is left to it, and its reply gets through."""
        self.ask(id=FIRST_ID)
        result = self.mcp.call("a")
        self.assertEqual(self.sent[-1]["id"], FIRST_ID + 1)
        self.assertFalse(self.mcp.reply({"id": FIRST_ID, "result": {}}))
        self.device_says(result=None)
        self.assertIsNone(self.successResultOf(result))
