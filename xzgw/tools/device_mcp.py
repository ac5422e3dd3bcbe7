"""What the firmware's MCP server answers, its peculiarities included.

Only numbers are taken as ids, anything else gets no reply at all; a page of tools is at most 8,000
bytes and its cursor is the next tool's name; errors carry a message and no code.

Source: xiaozhi-esp32 main/mcp_server.cc
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xzgw.wire import messages
from xzgw.wire.messages import Json

PAGE_BYTES = 8000
_PAGE_MARGIN = 30  # bytes the firmware keeps free for the end of a page
_INT_MAX = 2**31 - 1


class ToolFault(Exception):
    """The call is refused; str() is the message the caller gets."""


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer argument within inclusive bounds."""

    minimum: int
    maximum: int

    def schema(self) -> Json:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def check(self, name: str, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ToolFault(f"Missing valid argument: {name}")
        if value < self.minimum:
            raise ToolFault(f"Value is below minimum allowed: {self.minimum}")
        if value > self.maximum:
            raise ToolFault(f"Value exceeds maximum allowed: {self.maximum}")
        return int(value)


@dataclass(frozen=True, slots=True)
class String:
    """A string argument."""

    def schema(self) -> Json:
        return {"type": "string"}

    def check(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            raise ToolFault(f"Missing valid argument: {name}")
        return value


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a device; `call` takes the checked arguments and gives the result's text."""

    name: str
    description: str
    call: Callable[[Json], str]
    arguments: Mapping[str, Integer | String] = field(default_factory=dict)
    user_only: bool = False

    def listing(self) -> Json:
        """The tool as tools/list shows it."""
        schema: Json = {
            "type": "object",
            "properties": {name: kind.schema() for name, kind in self.arguments.items()},
        }
        if self.arguments:
            schema["required"] = list(self.arguments)
        return {"name": self.name, "description": self.description, "inputSchema": schema}

    def checked(self, given: Json) -> Json:
        """The arguments this tool takes, others left out. Raises ToolFault."""
        return {name: kind.check(name, given.get(name)) for name, kind in self.arguments.items()}


class DeviceMcp:
    """Answers JSON-RPC requests as a device does."""

    def __init__(self, tools: Sequence[Tool], page_bytes: int = PAGE_BYTES) -> None:
        self.tools = tuple(tools)
        self.vision: Json | None = None  # where to send photos, as initialize told
        self.calls: list[tuple[str, Json]] = []  # tools that were called, and with what
        self._page_bytes = page_bytes

    def answer(self, payload: object) -> Json | None:
        """The JSON-RPC reply to one payload, or None where firmware stays silent."""
        if not isinstance(payload, dict) or payload.get("jsonrpc") != "2.0":
            return None
        method, number = payload.get("method"), payload.get("id")
        params = payload.get("params", {})
        if not isinstance(method, str) or method.startswith("notifications"):
            return None
        if not isinstance(params, dict):
            return None
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        reply: Json = {"jsonrpc": "2.0", "id": int(max(-_INT_MAX - 1, min(number, _INT_MAX)))}
        try:
            reply["result"] = self._result(method, params)
        except ToolFault as e:
            reply["error"] = {"message": str(e)}
        return reply

    def _result(self, method: str, params: Json) -> Json:
        match method:
            case "initialize":
                return self._initialize(params)
            case "tools/list":
                return self._list(params)
            case "tools/call":
                return self._call(params)
        raise ToolFault(f"Method not implemented: {method}")

    def _initialize(self, params: Json) -> Json:
        capabilities = params.get("capabilities")
        vision = capabilities.get("vision") if isinstance(capabilities, dict) else None
        if isinstance(vision, dict) and isinstance(vision.get("url"), str):
            self.vision = vision
        return {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "simulated-device", "version": "2.0.0"},
        }

    def _list(self, params: Json) -> Json:
        shown = [t for t in self.tools if not t.user_only or params.get("withUserTools") is True]
        cursor = params.get("cursor")
        if isinstance(cursor, str) and cursor:
            names = [tool.name for tool in shown]
            shown = shown[names.index(cursor) :] if cursor in names else []
        page: list[Json] = []
        size = len('{"tools":[')
        for tool in shown:
            listing = tool.listing()
            size += len(messages.encode(listing)) + 1
            if size + _PAGE_MARGIN > self._page_bytes:
                break
            page.append(listing)
        following = shown[len(page)].name if len(page) < len(shown) else ""
        if not page:
            raise ToolFault(f"Failed to add tool {following} because of payload size limit")
        return {"tools": page, "nextCursor": following} if following else {"tools": page}

    def _call(self, params: Json) -> Json:
        name, given = params.get("name"), params.get("arguments", {})
        if not isinstance(name, str):
            raise ToolFault("Missing name")
        if not isinstance(given, dict):
            raise ToolFault("Invalid arguments")
        for tool in self.tools:
            if tool.name == name:
                arguments = tool.checked(given)
                self.calls.append((name, arguments))
                text = tool.call(arguments)
                return {"content": [{"type": "text", "text": text}], "isError": False}
        raise ToolFault(f"Unknown tool: {name}")
