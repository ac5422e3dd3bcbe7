"""The xiaozhi-server's side of MCP, with its own habits about ids.

It sends `initialize` with id 1, a second later `tools/list` with id 2 page by page, never
`notifications/initialized`, and its first `tools/call` has id 1 again.

Source: xiaozhi-server core/providers/tools/device_mcp/mcp_handler.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from xzgw.tools.steps import Watch
from xzgw.wire.messages import Json

INITIALIZE_ID = 1
LIST_ID = 2
LIST_DELAY = 1.0  # seconds from initialize to tools/list
REPLY_SECONDS = 10.0


class ServerMcp:
    """An MCP client of one device, through whatever stands between."""

    def __init__(
        self, clock: IReactorTime, send: Callable[[Json], None], vision: Mapping[str, str]
    ) -> None:
        """Take the function that sends one JSON-RPC payload, and vision `url` and `token`."""
        self.device_info: Json | None = None  # the result of initialize
        self.tools: list[Json] = []
        self._clock = clock
        self._send = send
        self._vision = dict(vision)
        self._watch = Watch(clock)
        self._listing: IDelayedCall | None = None
        self._listed = False
        self._pending: dict[int, str] = {}
        self._answers: dict[int, Json] = {}
        self._call_ids = count(1)

    def start(self) -> None:
        """Initialize the device; ask for its tools a second later."""
        self.close("the server starts anew")
        self._watch = Watch(self._clock)
        self.device_info, self.tools, self._listed = None, [], False
        params = {
            "protocolVersion": "2024-11-05",
            "capabilities": {
                "roots": {"listChanged": True},
                "sampling": {},
                "vision": self._vision,
            },
            "clientInfo": {"name": "XiaozhiClient", "version": "1.0.0"},
        }
        self._request(INITIALIZE_ID, "initialize", params)
        self._listing = self._clock.callLater(LIST_DELAY, self._list, None)

    def reply(self, payload: object) -> None:
        """Take what the device says; anything unasked for is ignored."""
        if not isinstance(payload, dict) or type(number := payload.get("id")) is not int:
            return
        method = self._pending.pop(number, None)
        result = payload.get("result")
        if method == "tools/call":
            self._answers[number] = payload
        elif method == "initialize" and isinstance(result, dict):
            self.device_info = result
        elif method == "tools/list" and isinstance(result, dict):
            self._page(result)
        self._watch.changed()

    def call(self, name: str, arguments: Json) -> Deferred[Json]:
        """Call a tool; fires with the whole JSON-RPC reply, errbacks with StepError."""
        number = next(self._call_ids)
        self._request(number, "tools/call", {"name": name, "arguments": arguments})
        step = f"server's tools/call of {name}"
        return self._watch.until(step, lambda: self._answers.pop(number, None), REPLY_SECONDS)

    def listed(self, seconds: float = REPLY_SECONDS) -> Deferred[list[Json]]:
        """Fire with the device's tools once the last page came; errbacks with StepError."""
        return self._watch.until(
            "server's tools/list", lambda: self.tools if self._listed else None, seconds
        )

    def close(self, reason: str) -> None:
        """The device is gone: stop the timer, fail who waits."""
        if self._listing is not None and self._listing.active():
            self._listing.cancel()
        self._pending.clear()
        self._watch.close(reason)

    def _list(self, cursor: str | None) -> None:
        self._request(LIST_ID, "tools/list", {} if cursor is None else {"cursor": cursor})

    def _page(self, result: Json) -> None:
        page, cursor = result.get("tools"), result.get("nextCursor")
        self.tools += [tool for tool in page if isinstance(tool, dict)] if page else []
        # A page without tools would never end.
        if isinstance(cursor, str) and cursor and page:
            self._list(cursor)
        else:
            self._listed = True

    def _request(self, number: int, method: str, params: Json) -> None:
        self._pending[number] = method
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
