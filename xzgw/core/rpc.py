"""JSON-RPC calls to one device, and telling our replies from the server's.

Two clients share one device: the chat server, whose requests are passed on untouched, and we. A
reply carries nothing but its id to tell whose it is. Firmware answers only integer ids below 2**31
and servers count from small numbers, so our ids come from the upper half of that range.

Source: the firmware's mcp_server.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from xzgw.wire import messages
from xzgw.wire.messages import Json

FIRST_ID = 0x40000000
LAST_ID = 0x7FFFFFFF
REMEMBERED_IDS = 1024


class McpFailed(Exception):
    """A call that brought no result; str() says why."""


class McpError(McpFailed):
    """The device answered with an error, or with nonsense; str() is its message.

    Attributes:
        method: what was called.
        error: the reply's error member as it came, None for nonsense; firmware sends
            {"message": ...} without a code.
    """

    def __init__(self, method: str, message: str, error: object = None) -> None:
        super().__init__(message)
        self.method = method
        self.error = error


class McpTimeout(McpFailed):
    """The device did not answer in time."""


class McpClosed(McpFailed):
    """The device's connection has ended."""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    result: Deferred[Any]
    timer: IDelayedCall


class Calls:
    """What we asked one device over one MQTT connection and still wait for."""

    def __init__(
        self, send: Callable[[bytes], None], clock: IReactorTime, *, first_id: int
    ) -> None:
        """
        Args:
            send: publishes one JSON text to the device.
            first_id: any integer; random, so that ids of different connections differ.
        """
        self._send = send
        self._clock = clock
        self._next_id = _fold(first_id)
        self._pending: dict[int, _Call] = {}
        self._settled: dict[int, None] = {}  # ours, no longer pending; oldest first
        self._server_ids: dict[int, None] = {}  # the server's within our range; oldest first
        self._closed: str | None = None

    @property
    def pending(self) -> int:
        """How many calls wait for their reply."""
        return len(self._pending)

    def call(self, method: str, params: Mapping[str, Any] | None, timeout: float) -> Deferred[Any]:
        """Send one request; cancelling the Deferred forgets it.

        Args:
            params: left out if None.
            timeout: seconds.
        Returns:
            The result, any JSON value; or fails with McpError, McpTimeout or McpClosed.
        Raises:
            ValueError: params hold a float that JSON cannot carry; nothing was sent.
        """
        if self._closed is not None:
            return fail(McpClosed(self._closed))
        call_id = self._take_id()
        request: Json = {"jsonrpc": "2.0", "id": call_id, "method": method}
        if params is not None:
            request["params"] = params
        text = messages.mcp(request)

        def forget(_: Deferred[Any]) -> None:
            self._settle(call_id)

        result: Deferred[Any] = Deferred(forget)
        timer = self._clock.callLater(timeout, self._expire, call_id, timeout)
        self._pending[call_id] = _Call(method, result, timer)
        self._send(text)
        return result

    def notify(self, method: str) -> None:
        """Send a notification, which has no id and gets no reply."""
        self._send(messages.mcp({"jsonrpc": "2.0", "method": method}))

    def reply(self, payload: Json) -> bool:
        """Take a JSON-RPC message from the device.

        Returns:
            True if it answers a call of ours, even one given up since; it is consumed. False if
            it is for the server.
        """
        call_id = payload.get("id")
        # type() because True == 1 and 5.0 == 5, and neither is an id of ours.
        if type(call_id) is not int or "method" in payload:
            return False
        if call_id in self._pending:
            _deliver(self._settle(call_id), payload)
            return True
        return call_id in self._settled

    def note_server_request(self, request_id: object) -> None:
        """Leave an id that the server uses to the server, should it ever be in our range."""
        if type(request_id) is int and FIRST_ID <= request_id <= LAST_ID:
            self._settled.pop(request_id, None)
            _remember(self._server_ids, request_id)

    def close(self, reason: str) -> None:
        """End every pending call with McpClosed; later calls fail, later replies are not ours."""
        self._closed = f"device is gone: {reason}"
        while self._pending:
            call = self._settle(next(iter(self._pending)))
            call.result.errback(McpClosed(self._closed))
        self._settled.clear()

    def _take_id(self) -> int:
        while True:
            taken = self._next_id
            self._next_id = _fold(taken + 1)
            if not any(taken in ids for ids in (self._pending, self._settled, self._server_ids)):
                return taken

    def _settle(self, call_id: int) -> _Call:
        """Stop waiting; the id stays known as ours, so that a late reply is not the server's."""
        call = self._pending.pop(call_id)
        if call.timer.active():
            call.timer.cancel()
        _remember(self._settled, call_id)
        return call

    def _expire(self, call_id: int, timeout: float) -> None:
        call = self._settle(call_id)
        reason = f"device did not answer {call.method} within {timeout:g} s"
        call.result.errback(McpTimeout(reason))


def _deliver(call: _Call, payload: Json) -> None:
    error = payload.get("error")
    if error is not None:
        message = error.get("message") if isinstance(error, dict) else error
        text = message if isinstance(message, str) else "error without a message"
        call.result.errback(McpError(call.method, text, error))
    elif "result" in payload:
        call.result.callback(payload["result"])
    else:
        call.result.errback(McpError(call.method, "malformed reply"))


def _fold(number: int) -> int:
    return FIRST_ID + (number - FIRST_ID) % (LAST_ID - FIRST_ID + 1)


def _remember(ids: dict[int, None], call_id: int) -> None:
    ids.pop(call_id, None)  # so that it counts as the newest
    ids[call_id] = None
    if len(ids) > REMEMBERED_IDS:
        del ids[next(iter(ids))]
