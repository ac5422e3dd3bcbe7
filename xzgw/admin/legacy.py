"""The four calls that management consoles make today, body for body."""

from __future__ import annotations

from klein import Klein
from twisted.web.server import Request

from xzgw.admin.bodies import optional_text, read_object, text
from xzgw.admin.problems import Refusal, reply
from xzgw.admin.routing import new_app
from xzgw.core.door import CallResult, Door, Presence
from xzgw.wire.messages import Json

COMMAND_TIME = 5.0  # s that a device has to answer a command
MAX_IDS = 10_000  # in one status request


class Legacy:
    """See the module's text."""

    app: Klein = new_app()

    def __init__(self, door: Door) -> None:
        self._door = door

    @app.route("/api/commands/<segment:client_id>", methods=["POST"])
    async def command(self, request: Request, client_id: str) -> bytes:
        """One MCP request to a device; the id in it is replaced by one of ours."""
        method, params = _mcp_request(read_object(request))
        result = await self._door.command(client_id, method, params, COMMAND_TIME)
        return reply(request, {"success": True, "data": result})

    @app.route("/api/devices/status", methods=["POST"])
    async def status(self, request: Request) -> bytes:
        """Which of these devices are connected, and which of those have a session."""
        client_ids = _client_ids(read_object(request))
        found = await self._door.presence(client_ids)
        return reply(request, {each: _status(found.get(each)) for each in client_ids})

    @app.route("/api/call/request", methods=["POST"])
    async def request_call(self, request: Request) -> bytes:
        """A device wants to talk to another one."""
        body = read_object(request)
        caller, target = text(body, "caller_mac"), text(body, "target_mac")
        nickname = optional_text(body, "caller_nickname")
        return _call_reply(request, await self._door.request_call(caller, target, nickname))

    @app.route("/api/call/accept", methods=["POST"])
    async def accept_call(self, request: Request) -> bytes:
        """A device takes the call that it was woken for."""
        mac = text(read_object(request), "mac")
        return _call_reply(request, await self._door.accept_call(mac))


def _mcp_request(body: Json) -> tuple[str, Json | None]:
    if body.get("type") != "mcp":
        raise Refusal(400, 'type must be "mcp"')
    payload = body.get("payload")
    if not isinstance(payload, dict):
        raise Refusal(400, "payload must be an object")
    params = payload.get("params")
    if params is not None and not isinstance(params, dict):
        raise Refusal(400, "params must be an object")
    return text(payload, "method"), params


def _client_ids(body: Json) -> list[str]:
    """Those of both lists, each once, in the order in which they came."""
    lists = [body[key] for key in ("clientIds", "deviceIds") if body.get(key) is not None]
    if not lists:
        raise Refusal(400, "clientIds or deviceIds is missing")
    if not all(isinstance(each, list) for each in lists):
        raise Refusal(400, "clientIds and deviceIds must be lists")
    ids = [client_id for each in lists for client_id in each]
    if len(ids) > MAX_IDS:
        raise Refusal(400, f"at most {MAX_IDS} client ids may be asked for at once")
    if not all(isinstance(client_id, str) for client_id in ids):
        raise Refusal(400, "client ids must be texts")
    return list(dict.fromkeys(ids))


def _status(presence: Presence | None) -> Json:
    """Consoles show "online" for true, and for null with exists."""
    if presence in (None, Presence.GONE):
        return {"isAlive": False, "exists": False}
    talking = presence in (Presence.LIVE, Presence.IN_CALL)
    return {"isAlive": True if talking else None, "exists": True}


def _call_reply(request: Request, result: CallResult) -> bytes:
    return reply(request, {"status": result.status.value, "message": result.message})
