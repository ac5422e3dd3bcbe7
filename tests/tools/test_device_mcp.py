"""The simulated device's MCP server, held to what the firmware does."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.device_mcp import DeviceMcp, Tool
from xzgw.tools.device_tools import usual_tools
from xzgw.wire import messages


def ask(mcp: DeviceMcp, method: str, params: Any = None, number: Any = 1) -> Any:
    """The answer to one request; params are left out if None."""
    payload = {"jsonrpc": "2.0", "id": number, "method": method}
    return mcp.answer(payload if params is None else {**payload, "params": params})


class DeviceMcpTests(SynchronousTestCase):
    """Requests and answers."""

    def setUp(self) -> None:
        self.mcp = DeviceMcp(usual_tools())

    def call(self, name: Any, **arguments: Any) -> Any:
        return ask(self.mcp, "tools/call", {"name": name, "arguments": arguments})

    def test_initialize(self) -> None:
        """The answer names protocol and device; the vision address is kept."""
        vision = {"url": "http://v/", "token": "t"}
        reply = ask(self.mcp, "initialize", {"capabilities": {"vision": vision}}, 7)
        self.assertEqual((reply["jsonrpc"], reply["id"]), ("2.0", 7))
        self.assertEqual(reply["result"]["protocolVersion"], "2024-11-05")
        self.assertEqual(self.mcp.vision, vision)

    def test_initialize_without_vision(self) -> None:
        """No usable vision address leaves the old one alone."""
        for params in ({}, {"capabilities": 1}, {"capabilities": {"vision": {"url": 1}}}):
            self.assertIn("result", ask(self.mcp, "initialize", params))
            self.assertIsNone(self.mcp.vision)

    def test_silence(self) -> None:
        """What firmware does not answer: odd ids, notifications, other JSON-RPC, odd params."""
        for number in ("1", None, True, [1]):
            self.assertIsNone(ask(self.mcp, "tools/list", {}, number))
        self.assertIsNone(ask(self.mcp, "notifications/initialized"))
        self.assertIsNone(ask(self.mcp, "tools/list", [1]))
        for payload in (None, "x", {}, {"jsonrpc": "1.0", "id": 1, "method": "tools/list"}):
            self.assertIsNone(self.mcp.answer(payload))
        self.assertIsNone(self.mcp.answer({"jsonrpc": "2.0", "id": 1}))

    def test_number_of_id(self) -> None:
        """An id is cut to the whole number that fits 32 bits."""
        for number, told in (
            (5.9, 5),
            (2**31, 2**31 - 1),
            (-(2**40), -(2**31)),
            (1e999, 2**31 - 1),
        ):
            self.assertEqual(ask(self.mcp, "tools/list", {}, number)["id"], told)

    def test_list(self) -> None:
        """Tools that only users may call are listed on request alone."""
        names = [t["name"] for t in ask(self.mcp, "tools/list")["result"]["tools"]]
        self.assertEqual(names[:2], ["self.get_device_status", "self.audio_speaker.set_volume"])
        self.assertNotIn("self.reboot", names)
        with_users = ask(self.mcp, "tools/list", {"withUserTools": True})["result"]["tools"]
        self.assertEqual([t["name"] for t in with_users], [*names, "self.reboot"])

    def test_pages(self) -> None:
        """A page is within the limit; its cursor is the next tool's name; none is left out."""
        tools = [Tool(f"t{n}", "x" * 100, lambda _: "") for n in range(10)]
        mcp = DeviceMcp(tools, page_bytes=700)
        names: list[str] = []
        cursor: Any = ""
        pages = 0
        while cursor is not None:
            result = ask(mcp, "tools/list", {"cursor": cursor})["result"]
            self.assertLessEqual(len(messages.encode(result)), 700)
            names += [tool["name"] for tool in result["tools"]]
            cursor = result.get("nextCursor")
            self.assertEqual(cursor, None if len(names) == 10 else f"t{len(names)}")
            pages += 1
        self.assertEqual(names, [tool.name for tool in tools])
        self.assertEqual(pages, 4)

    def test_page_too_small(self) -> None:
        """A tool that fits no page, or an unknown cursor, is an error without a code."""
        reply = ask(DeviceMcp(usual_tools(), page_bytes=50), "tools/list")
        why = "Failed to add tool self.get_device_status because of payload size limit"
        self.assertEqual(reply["error"], {"message": why})
        self.assertIn("error", ask(self.mcp, "tools/list", {"cursor": "gone"}))

    def test_call(self) -> None:
        """A call changes the device, and the result's text tells."""
        self.assertEqual(
            self.call("self.audio_speaker.set_volume", volume=30)["result"]["content"],
            [{"type": "text", "text": "true"}],
        )
        status = self.call("self.get_device_status")["result"]["content"][0]["text"]
        self.assertEqual(messages.parse(status.encode())["audio_speaker"], {"volume": 30})
        self.call("self.remote_wakeup", reason="[device_call]", action="listen")
        self.assertEqual(
            self.mcp.calls,
            [
                ("self.audio_speaker.set_volume", {"volume": 30}),
                ("self.get_device_status", {}),
                ("self.remote_wakeup", {"reason": "[device_call]", "action": "listen"}),
            ],
        )

    def test_call_errors(self) -> None:
        """Refused calls say why, in the firmware's words, and call nothing."""
        volume = "self.audio_speaker.set_volume"
        cases = [
            (self.call("self.nothing"), "Unknown tool: self.nothing"),
            (self.call(5), "Missing name"),
            (self.call(volume), "Missing valid argument: volume"),
            (self.call(volume, volume=True), "Missing valid argument: volume"),
            (self.call(volume, volume=-1), "Value is below minimum allowed: 0"),
            (self.call(volume, volume=101), "Value exceeds maximum allowed: 100"),
            (self.call("self.remote_wakeup", reason=1), "Missing valid argument: reason"),
            (ask(self.mcp, "tools/call", {"name": "x", "arguments": 1}), "Invalid arguments"),
            (ask(self.mcp, "resources/list"), "Method not implemented: resources/list"),
        ]
        for reply, message in cases:
            self.assertEqual(reply["error"], {"message": message})
        self.assertEqual(self.mcp.calls, [])
