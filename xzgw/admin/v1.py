"""The wider API under /v1; openapi.json is its reference."""

from __future__ import annotations

from collections.abc import Callable

from klein import Klein
from twisted.web.server import Request

from xzgw.admin import trace, views
from xzgw.admin.bodies import read_object, text
from xzgw.admin.event_stream import EventStream, TooManyReaders, UnknownKinds
from xzgw.admin.problems import Refusal, no_content, reply
from xzgw.admin.queries import Query
from xzgw.admin.routing import new_app
from xzgw.core.door import Door
from xzgw.wire.messages import Json

DEVICE = "/v1/devices/<segment:client_id>"
MAX_PAGE = 1000
PAGE = 100
TOOL_TIME = 10  # s that a device has to answer a tool call, unless the caller says otherwise
MAX_TOOL_TIME = 60


class V1:
    """See the module's text."""

    app: Klein = new_app()

    def __init__(self, door: Door, stream: EventStream, configuration: Callable[[], Json]) -> None:
        self._door = door
        self._stream = stream
        self._configuration = configuration

    @app.route("/v1/devices", methods=["GET"])
    async def list_devices(self, request: Request) -> bytes:
        query = Query(request, "group", "state", "mac_prefix", "limit", "after")
        limit = query.number("limit", 1, MAX_PAGE, PAGE)
        page = await self._door.list(query.filter(), query.text("after") or "", limit)
        devices = [views.device(view) for view in page.devices]
        return reply(request, {"devices": devices, "next": page.next_after, "total": page.total})

    @app.route(DEVICE, methods=["GET"])
    async def show_device(self, request: Request, client_id: str) -> bytes:
        return reply(request, views.device(await self._door.find(client_id)))

    @app.route(DEVICE, methods=["DELETE"])
    async def disconnect(self, request: Request, client_id: str) -> bytes:
        await self._door.disconnect(client_id)
        return no_content(request)

    @app.route(DEVICE + "/session", methods=["DELETE"])
    async def end_session(self, request: Request, client_id: str) -> bytes:
        await self._door.end_session(client_id)
        return no_content(request)

    @app.route(DEVICE + "/tools", methods=["GET"])
    async def list_tools(self, request: Request, client_id: str) -> bytes:
        return reply(request, await self._door.tools(client_id))

    @app.route(DEVICE + "/tools/<segment:name>", methods=["POST"])
    async def call_tool(self, request: Request, client_id: str, name: str) -> bytes:
        timeout = Query(request, "timeout").number("timeout", 1, MAX_TOOL_TIME, TOOL_TIME)
        params = {"name": name, "arguments": read_object(request)}
        result = await self._door.command(client_id, "tools/call", params, timeout)
        return reply(request, {"result": result})

    @app.route(DEVICE + "/messages", methods=["POST"])
    async def push(self, request: Request, client_id: str) -> bytes:
        message = read_object(request)
        text(message, "type")
        await self._door.push(client_id, message)
        return reply(request, {"status": "sent"}, 202)

    @app.route(DEVICE + "/trace", methods=["POST"])
    async def start_trace(self, request: Request, client_id: str) -> bytes:
        return await trace.start(self._door, request, client_id)

    @app.route(DEVICE + "/trace", methods=["GET"])
    async def read_trace(self, request: Request, client_id: str) -> None:
        await trace.read(self._door, request, client_id)

    @app.route(DEVICE + "/trace", methods=["DELETE"])
    async def forget_trace(self, request: Request, client_id: str) -> bytes:
        await self._door.forget_trace(client_id)
        return no_content(request)

    @app.route("/v1/drain", methods=["POST"])
    async def drain(self, request: Request) -> bytes:
        left = await self._door.drain()
        body = {"status": "draining", "devices": left.devices, "sessions": left.sessions}
        return reply(request, body, 202)

    @app.route("/v1/backends", methods=["GET"])
    async def list_backends(self, request: Request) -> bytes:
        found = await self._door.backends()
        return reply(request, {"backends": [views.backend(view) for view in found]})

    @app.route("/v1/backends/drain", methods=["POST"])
    async def drain_backend(self, request: Request) -> bytes:
        await self._door.drain_backend(text(read_object(request), "url"), draining=True)
        return no_content(request)

    @app.route("/v1/backends/resume", methods=["POST"])
    async def resume_backend(self, request: Request) -> bytes:
        await self._door.drain_backend(text(read_object(request), "url"), draining=False)
        return no_content(request)

    @app.route("/v1/status", methods=["GET"])
    async def show_status(self, request: Request) -> bytes:
        shown = views.status(await self._door.status(), await self._door.totals())
        return reply(request, shown)

    @app.route("/v1/config", methods=["GET"])
    def show_configuration(self, request: Request) -> bytes:
        return reply(request, views.configuration(self._configuration()))

    @app.route("/v1/events", methods=["GET"])
    async def events(self, request: Request) -> None:
        try:
            await self._stream.serve(request)
        except UnknownKinds as error:
            raise Refusal(400, str(error)) from None
        except TooManyReaders as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise Refusal(503, str(error), headers) from None
