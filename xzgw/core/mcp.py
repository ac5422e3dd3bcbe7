"""The gateway as an MCP client of one device, and the tool list it remembers.

MCP is JSON-RPC 2.0 in `{"type":"mcp","payload":{...}}`. After CONNECT the device's tools are
listed once, page by page. Only a complete list answers the server in the device's place; until
then, and for everything else, the device is asked.

Source: the firmware's mcp_server.cc, and the MCP specification of 2024-11-05.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from xzgw.core.rpc import Calls, McpClosed, McpError, McpFailed, McpTimeout
from xzgw.wire import messages
from xzgw.wire.messages import Json

__all__ = [
    "Answer",
    "McpClient",
    "McpClosed",
    "McpError",
    "McpFailed",
    "McpTimeout",
    "PassOn",
    "Swallow",
    "Verdict",
]

PROTOCOL_VERSION = "2024-11-05"
_TIMEOUT = 10.0  # seconds
MAX_CURSOR = 1024  # characters; firmware's is a tool's name
TOOL_SIZE = 8 * 1024  # bytes of JSON, on average at most; firmware sends 8,000 at a time


@dataclass(frozen=True, slots=True)
class PassOn:
    """The server's message goes to the device, as the text that arrived."""


@dataclass(frozen=True, slots=True)
class Swallow:
    """The server's message goes nowhere and needs no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The server gets this JSON-RPC reply from us; the device is not asked."""

    payload: Json


Verdict = PassOn | Swallow | Answer


class McpClient:
    """Calls to one device over one MQTT connection, and the tools it told us of.

    Attributes:
        complete: whether tools are all there are, so that they may answer for the device.
        status: one plain sentence about how far discovery came.
        answered: whether anything of ours was ever answered.
        answers_ping: whether a `ping` ever was.
        pinged_at: clock seconds of the latest one, None for none; both kept by core.liveness.
        calls: ours, those that wait for their answer, too.
    """

    def __init__(
        self,
        send: Callable[[bytes], None],
        clock: IReactorTime,
        *,
        capabilities: Mapping[str, Any],
        client_info: Mapping[str, Any],
        max_tools_count: int,
        first_id: int,
    ) -> None:
        """
        Args:
            send: publishes one JSON text to the device.
            capabilities, client_info: what initialize tells the device about us.
            max_tools_count: tools beyond that many are not kept.
            first_id: any integer; random, so that ids of different connections differ.
        """
        self.complete = False
        self.status = "device was not asked for its tools yet"
        self.answered = False
        self.answers_ping = False
        self.pinged_at: float | None = None
        self.calls = Calls(send, clock, first_id=first_id)
        self._about_us: Json = {"capabilities": capabilities, "clientInfo": client_info}
        self._max_tools = max_tools_count
        self._tools: list[bytes] = []  # as JSON, which takes a quarter of what it takes parsed
        self._tools_size = 0  # bytes

    @property
    def tools(self) -> tuple[Json, ...]:
        """The tools listed so far, as the device described them; parsed anew each time."""
        return tuple(map(messages.parse, self._tools))

    @property
    def tools_count(self) -> int:
        return len(self._tools)

    def start(self) -> Deferred[str]:
        """Discover the device's tools; once per connection.

        Returns:
            Fires with `status` when discovery has ended, well or not; never fails.
        """
        self.status = "device is being asked for its tools"
        return Deferred.fromCoroutine(self._discover())

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float = _TIMEOUT
    ) -> Deferred[Any]:
        """Send the device one request; cancelling the Deferred forgets it.

        Args:
            params: left out if None.
            timeout: seconds.
        Returns:
            The result, any JSON value; or fails with McpError, McpTimeout or McpClosed.
        Raises:
            ValueError: params hold a float that JSON cannot carry; nothing was sent.
        """
        return self.calls.call(method, params, timeout)

    def reply(self, payload: Json) -> bool:
        """Take a JSON-RPC message from the device; True if it was for us and is consumed."""
        ours = self.calls.reply(payload)
        self.answered = self.answered or ours
        return ours

    def note_server_request(self, request_id: object) -> None:
        """Leave an id that the server uses to the server; answer_server does this by itself."""
        self.calls.note_server_request(request_id)

    def answer_server(self, message: Json) -> Verdict:
        """Decide about one mcp envelope from the chat server."""
        payload = message.get("payload")
        if not isinstance(payload, dict):
            return PassOn()
        self.note_server_request(payload.get("id"))
        if not self.complete or payload.get("jsonrpc") != "2.0":
            return PassOn()
        match payload:
            case {"method": "notifications/initialized"} if "id" not in payload:
                return Swallow()
            case {"method": "tools/list", "id": request_id} if _is_id(
                request_id
            ) and _asks_first_page(payload.get("params")):
                result = {"tools": list(self.tools)}
                return Answer({"jsonrpc": "2.0", "id": request_id, "result": result})
        return PassOn()

    def close(self, reason: str) -> None:
        """End every pending call with McpClosed; the device is gone."""
        self.calls.close(reason)

    async def _discover(self) -> str:
        try:
            await self._initialize()
            self.status = await self._list_tools()
        except McpError as error:
            self.status = f"device answered {error.method} with an error: {_one_line(str(error))}"
        except McpFailed as error:
            self.status = str(error)
        except CancelledError:
            self.status = "listing the device's tools was given up"
        return self.status

    async def _initialize(self) -> None:
        params = {"protocolVersion": PROTOCOL_VERSION, **self._about_us}
        await self.call("initialize", params)
        self.calls.notify("notifications/initialized")

    async def _list_tools(self) -> str:
        """Ask for page after page; returns the status at the end."""
        cursor = ""
        seen: set[str] = set()
        while True:
            # Firmware refuses params that are not an object.
            page = _read_page(await self.call("tools/list", {"cursor": cursor} if cursor else {}))
            if page is None:
                return "device sent a malformed page of tools"
            tools, cursor = page
            excess = self._keep(tools, bool(cursor))
            if excess:
                return f"device has more than the {excess} that are kept"
            if not cursor:
                self.complete = True
                return f"device has {self.tools_count} tools"
            if cursor in seen:
                return "device sent the same page cursor twice while listing its tools"
            seen.add(cursor)

    def _keep(self, tools: list[Json], more: bool) -> str:
        """Take one page of tools; returns the limit if it is over that, else nothing.

        Args:
            more: whether further pages are to come.
        """
        for tool in tools:
            if self.tools_count == self._max_tools:
                return f"{self._max_tools} tools"
            text = messages.encode(tool)
            if self._tools_size + len(text) > self._max_tools * TOOL_SIZE:
                return f"{self._max_tools * TOOL_SIZE // 1024} KiB of tools"
            self._tools.append(text)
            self._tools_size += len(text)
        return f"{self._max_tools} tools" if more and self.tools_count == self._max_tools else ""


def _read_page(result: object) -> tuple[list[Json], str] | None:
    """Tools and next cursor ("" at the end) of a tools/list result; None if it is malformed."""
    if not isinstance(result, dict):
        return None
    tools, cursor = result.get("tools"), result.get("nextCursor")
    if not isinstance(tools, list) or not isinstance(cursor, str | None):
        return None
    if cursor is not None and len(cursor) > MAX_CURSOR:
        return None  # all of them are remembered
    if not all(isinstance(tool, dict) and isinstance(tool.get("name"), str) for tool in tools):
        return None
    if cursor and not tools:
        return None  # such pages could go on for ever
    return tools, cursor or ""


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _asks_first_page(params: object) -> bool:
    """Whether tools/list params ask for just what our own tools/list asked for."""
    return params is None or params in ({}, {"cursor": None}, {"cursor": ""})


def _one_line(text: str) -> str:
    """At most 200 characters, without any that could disturb a log."""
    return "".join(c if c.isprintable() else " " for c in text[:200])
