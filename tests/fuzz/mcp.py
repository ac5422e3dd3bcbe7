"""MCP replies of a device, and what the server asks it, through our own MCP client."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.fuzz.harness import (
    Harness,
    Step,
    json_bytes,
    no_failure_logged,
    one_line,
    scripts,
    steps,
)
from tests.fuzz.session_data import MESSAGES, RPC
from xzgw.core.mcp import Answer, McpClient, McpFailed, Swallow
from xzgw.core.rpc import FIRST_ID, LAST_ID
from xzgw.wire.messages import Json, MessageError, mcp, parse

MAX_TOOLS = 3
TIMEOUT = 5.0


class Client:
    """An McpClient, the calls made through it, and what became of them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[Json] = []
        self.made: list[Deferred[Any]] = []
        self.ended: list[object] = []
        self.discovered: list[str] = []
        self.mcp = McpClient(
            lambda text: self.sent.append(parse(text)["payload"]),
            self.clock,
            capabilities={},
            client_info={"name": "xzgw"},
            max_tools_count=MAX_TOOLS,
            first_id=LAST_ID - 2,  # soon round
        )

    def discover(self) -> None:
        """Once only."""
        if self.mcp.status == "device was not asked for its tools yet":
            self.mcp.start().addCallback(self.discovered.append)

    def call(self) -> None:
        """One more call, whose end is noted."""
        result = self.mcp.call("tools/call", {"name": "x"}, TIMEOUT)
        self.made.append(result)
        result.addBoth(self.ended.append)

    def reply(self, message: Json) -> None:
        """The device answers: it is taken exactly if its id is one that we have used."""
        payload = message.get("payload")
        if isinstance(payload, dict):
            call_id = payload.get("id")
            ours = any(each.get("id") == call_id for each in self.sent if "id" in each)
            taken = self.mcp.reply(payload)
            assert not taken or (ours and type(call_id) is int)

    def reply_to_newest(self, message: Json) -> None:
        """The same with the id of our newest request."""
        asked = [each["id"] for each in self.sent if "id" in each]
        payload = message.get("payload")
        if asked and isinstance(payload, dict):
            payload.pop("method", None)
            self.reply({"payload": {**payload, "id": asked[-1]}})

    def ask(self, message: Json) -> None:
        """The server says something; what we answer it has its id."""
        verdict = self.mcp.answer_server(message)
        if isinstance(verdict, Answer):
            assert self.mcp.complete
            assert verdict.payload["id"] == message["payload"]["id"]
            assert parse(mcp(verdict.payload))["payload"] == verdict.payload
        elif isinstance(verdict, Swallow):
            assert "id" not in message["payload"]

    def check(self) -> None:
        """What holds at any time."""
        ids = [each["id"] for each in self.sent if "id" in each]
        assert len(ids) == len(set(ids))
        assert all(FIRST_ID <= each <= LAST_ID for each in ids)
        assert len(self.mcp.tools) <= MAX_TOOLS
        assert one_line(self.mcp.status)
        assert len(self.mcp.status) < 300
        timers = len(self.clock.getDelayedCalls())
        under_way = len(self.made) - len(self.ended)
        assert under_way <= timers <= under_way + 1


def talk(data: bytes) -> None:
    """Replies and requests of any kind: each call ends once, and only by its own id."""
    client = Client()
    with no_failure_logged():
        for what, body in steps(data):
            _act(client, what % 8, body)
            client.check()
        client.mcp.close("gone")
    assert len(client.ended) == len(client.made)
    assert client.clock.getDelayedCalls() == []
    for end in client.ended:
        if isinstance(end, Failure):
            assert end.check(McpFailed, CancelledError), end


def _act(client: Client, what: int, body: bytes) -> None:
    match what:
        case 0:
            client.discover()
        case 1:
            client.call()
        case 2:
            client.clock.advance(len(body) / 2)
        case 3 if client.made:
            client.made[len(body) % len(client.made)].cancel()
        case 4 | 5 | 6:
            try:
                message = parse(body)
            except MessageError:
                return
            (client.reply, client.reply_to_newest, client.ask)[what - 4](message)


_said = st.one_of(st.fixed_dictionaries({"type": st.just("mcp"), "payload": RPC}), MESSAGES).map(
    json_bytes
)
_steps = st.one_of(
    st.tuples(st.sampled_from([0, 1, 3]), st.integers(0, 3).map(bytes)),
    st.tuples(st.just(2), st.integers(0, 25).map(bytes)),
    st.tuples(st.sampled_from([4, 5, 5, 6]), _said),
)

_INITIALIZED = json_bytes({"payload": {"result": {"serverInfo": {"name": "x"}}}})
_PAGE = json_bytes({"payload": {"result": {"tools": [{"name": "a"}], "nextCursor": "b"}}})
_LAST = json_bytes({"payload": {"result": {"tools": [{"name": "b"}]}}})
_LIST = json_bytes({"payload": {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}})
_discovery: tuple[Step, ...] = ((0, b""), (5, _INITIALIZED), (5, _PAGE), (5, _LAST), (6, _LIST))
_beginnings = [_discovery[:length] for length in range(len(_discovery) + 1)]

HARNESSES = (Harness("mcp", talk, scripts(_steps, 25, _beginnings)),)
