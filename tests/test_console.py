"""The management console, played with plain HTTP, against `twistd -n xzgw` and a device."""

from __future__ import annotations

import json
import random
import socket
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent

from tests.api_support import (
    DAY,
    HELD,
    HOST,
    Answer,
    ApiTestCase,
    Console,
    Device,
    request,
    today,
    token,
)
from tests.support import PATIENCE, ChatServer
from xzgw.tools.device_mcp import String, Tool
from xzgw.tools.simulated import HELLO
from xzgw.wire import messages
from xzgw.wire.messages import Json

COMMAND_TIME = 5.0  # s that the API gives a device for a command
AT_ONCE = 40  # connections being opened; a listening socket queues few more


def good_dates() -> set[date]:
    """Whose token a gateway in UTC takes at this moment: five minutes' grace around midnight."""
    now = datetime.now(UTC)
    return {(now + timedelta(minutes=minutes)).date() for minutes in (-5, 0, 5)}


def mcp_result(device: Device, call: Json, result: Json) -> None:
    """A device's answer to a call that it has held back."""
    device.send(messages.mcp({"jsonrpc": "2.0", "id": call["id"], "result": result}))


class ConsoleTestCase(ApiTestCase):
    """The gateway runs in UTC."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.start(TZ="UTC")
        self.console = Console(self.port)
        client: Any = HTTPClient(Agent(reactor))
        self._client = client

    def at_once(self, client_id: str, params: Json) -> Deferred[Answer]:
        """A tools/call that needs no thread, so that any number of them can be on their way."""
        return Deferred.fromCoroutine(self._at_once(client_id, params))

    async def _at_once(self, client_id: str, params: Json) -> Answer:
        payload = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        response = await self._client.post(
            f"http://{HOST}:{self.port}/api/commands/{client_id}",
            json={"type": "mcp", "payload": payload},
            headers={"Authorization": f"Bearer {token(today())}"},
        )
        return Answer(response.code, await response.content())


class ConsolePageTests(ConsoleTestCase):
    """What the console's pages ask for."""

    async def test_status(self) -> None:
        """Connected, in a session, and not connected are told apart, in both spellings."""
        device = await self.device(1)
        absent = "GID_test@@@a0_85_e3_f4_00_ff@@@nobody"
        nowhere = {"isAlive": False, "exists": False}
        for key in ("clientIds", "deviceIds"):
            await device.hello()
            body = {key: [device.client_id, absent]}
            live = await self.console.ask("POST", "/api/devices/status", body)
            self.assertEqual(live.status, 200)
            self.assertEqual(
                live.json, {device.client_id: {"isAlive": True, "exists": True}, absent: nowhere}
            )
            device.goodbye()
            await self.chat.empty()
            idle = await self.console.ask("POST", "/api/devices/status", body)
            self.assertEqual(
                idle.json, {device.client_id: {"isAlive": None, "exists": True}, absent: nowhere}
            )
        await device.disconnect()
        gone = await self.console.ask("POST", "/api/devices/status", body)
        self.assertEqual(gone.json[device.client_id], nowhere)
        self.assertEqual(self.console.attempts, [200])

    async def test_paged_tools_list(self) -> None:
        """The console follows nextCursor to the end and has all tools, those for users, too."""
        more = [Tool(f"self.lamp_{n}", "它可以打开灯。" * 20, lambda _: "true") for n in range(60)]
        device = await self.device(2, *more)
        tools: list[Json] = []
        pages = 0
        cursor = ""
        while True:
            params = {"withUserTools": True, **({"cursor": cursor} if cursor else {})}
            answer = await self.console.command(device.client_id, "tools/list", params)
            self.assertEqual((answer.status, answer.json["success"]), (200, True))
            pages += 1
            tools += answer.json["data"]["tools"]
            cursor = answer.json["data"].get("nextCursor", "")
            if not cursor:
                break
        self.assertGreater(pages, 2)
        self.assertEqual(tools, [tool.listing() for tool in device.mcp.tools])

    async def test_tools_call(self) -> None:
        """The tool's result comes back bare; a device's error is a 502, no such device a 404."""
        device = await self.device(3)
        params = {"name": "self.audio_speaker.set_volume", "arguments": {"volume": 33}}
        answer = await self.console.command(device.client_id, "tools/call", params)
        result = {"content": [{"type": "text", "text": "true"}], "isError": False}
        self.assertEqual((answer.status, answer.json), (200, {"success": True, "data": result}))
        self.assertEqual(device.mcp.calls, [("self.audio_speaker.set_volume", {"volume": 33})])
        wrong = await self.console.command(device.client_id, "tools/call", {"name": "self.fly"})
        self.assertEqual(wrong.status, 502)
        self.assertEqual(wrong.json, {"success": False, "error": "Unknown tool: self.fly"})
        absent = await self.console.command("GID_test@@@a0_85@@@x", "tools/call", params)
        self.assertEqual((absent.status, absent.json["success"]), (404, False))
        self.assertEqual(self.console.attempts, [404], "it tries other dates on 401 only")

    async def test_server_and_console(self) -> None:
        """In a session both ask the same device with the same id, and each gets its own answer."""
        say = Tool("self.say", "Says it back.", lambda a: a["it"], {"it": String()})
        device = await self.device(4, say)
        await device.hello()
        (connection,) = self.chat.connections
        mcp = connection.conversation.mcp
        await mcp.listed()  # its own questions, which begin with id 1, are done
        params = {"name": "self.say", "arguments": {"it": "to the console"}}
        asked = mcp.call("self.say", {"it": "to the server"})
        ours = await self.console.command(device.client_id, "tools/call", params)
        theirs = await asked
        self.assertEqual(theirs["id"], 1)
        self.assertEqual(theirs["result"]["content"][0]["text"], "to the server")
        self.assertEqual(ours.json["data"]["content"][0]["text"], "to the console")

    async def test_paths(self) -> None:
        """A client id is found plain, with its @ percent-encoded, and with all of it encoded."""
        device = await self.device(5)
        encoded = "".join(f"%{byte:02x}" for byte in device.client_id.encode())
        self.assertIn("@@@", device.client_id)
        for spelling in (device.client_id, quote(device.client_id, safe=""), encoded):
            answer = await self.console.command(spelling, "tools/list", {})
            self.assertEqual((answer.status, answer.json["success"]), (200, True), spelling)


class AccessTests(ConsoleTestCase):
    """Who gets in, and what is told to everybody."""

    def open(self, path: str) -> Deferred[Answer]:
        """GET without a token."""
        return deferToThread(request, self.port, "GET", path, None, {})

    async def test_dates(self) -> None:
        """The token of the UTC date opens; a console that has another date finds the right one by
        401 alone."""
        path = "/api/devices/status"
        body: Json = {"clientIds": []}
        for days in (0, 1, -1):
            own = today() + days * DAY
            console = Console(self.port, lambda own=own: own)  # type: ignore[misc]
            tries = [own, own - DAY, own + DAY]
            good = good_dates()
            wrong = next(n for n, day in enumerate(tries) if day in good)
            self.assertEqual((await console.ask("POST", path, body)).json, {})
            self.assertEqual(console.attempts, [401] * wrong + [200], f"{days} days off")
        console = Console(self.port, lambda: today() + 4 * DAY)
        answer = await console.ask("POST", path, body)
        self.assertEqual(console.attempts, [401] * 3)
        self.assertEqual(sorted(answer.json), ["error", "success"])

    async def test_without_token(self) -> None:
        """Only health and the API's description are open; elsewhere not even 404 is told."""
        for path in ("/healthz", "/readyz", "/openapi.json"):
            self.assertEqual((await self.open(path)).status, 200, path)
        for path in ("/v1/devices", "/v1/events", "/api/commands/x", "/no/such/path"):
            self.assertEqual((await self.open(path)).status, 401, path)

    async def test_health(self) -> None:
        """While every chat server fails the gateway lives but is not ready, and it says why."""
        alive, ready = await self.open("/healthz"), await self.open("/readyz")
        self.assertEqual((alive.status, alive.json), (200, {"status": "ok"}))
        self.assertEqual((ready.status, ready.json), (200, {"status": "ready", "reasons": []}))
        device = await self.device(6)
        url = self.chat.url
        await self.chat.stop()
        device.send(HELLO)
        await device.expect("error")
        ready, alive = await self.open("/readyz"), await self.open("/healthz")
        self.assertEqual((ready.status, ready.json["status"]), (503, "not ready"))
        self.assertIn(url, ready.json["reasons"][0])
        self.assertEqual(alive.status, 200)


class WeakKeyTests(ApiTestCase):
    """A signature key that is too easy to guess."""

    async def test_weak_key(self) -> None:
        """The admin API's port stays closed, the log says why, and devices are served."""
        with socket.create_server((HOST, 0)) as probe:
            port = probe.getsockname()[1]
        weak = "sesame12"
        self.start(MQTT_SIGNATURE_KEY=weak, XZGW_API=f"tcp:{port}:interface={HOST}")
        self.assertTrue(self.gateway.mqtt_port)
        why = "the admin API is not started: the key lacks an upper-case or a lower-case letter"
        self.gateway.wait_for(why)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, (HOST, port))
        device = Device(7, key=weak)
        self.addCleanup(device.disconnect)
        await device.connect(HOST, self.gateway.mqtt_port)
        await device.hello()
        self.assertNotIn(weak, self.gateway.log)


class CommandTests(ConsoleTestCase):
    """Many at once, large ones, and those that come to nothing."""

    async def test_concurrent(self) -> None:
        """200 commands wait on one device; it answers in any order, each caller gets its own."""
        device = await self.device(8)
        pending: list[Deferred[Answer]] = []
        while len(pending) < 200:
            params = {"name": HELD, "arguments": {"number": len(pending)}}
            pending.append(self.at_once(device.client_id, params))
            if len(pending) % AT_ONCE == 0:
                await device.mcp.holding(len(pending))
        calls = list(device.mcp.held)
        self.assertEqual(len({call["id"] for call in calls}), 200)
        random.Random(200).shuffle(calls)
        for call in calls:
            mcp_result(device, call, {"for": call["params"]["arguments"]["number"]})
        answers = await gatherResults(pending)
        self.assertEqual(
            [answer.json for answer in answers],
            [{"success": True, "data": {"for": number}} for number in range(200)],
        )

    async def test_large_result(self) -> None:
        """300,000 bytes arrive whole, from the old path and the new one."""
        text = "".join(random.Random(9).choices('abc "\\\n', k=107_500)) + "图" * 50_000
        device = await self.device(9, Tool("self.photo", "Takes one.", lambda _: text))
        size = len(messages.encode({"text": text}))
        self.assertGreater(size, 300_000)
        params = {"name": "self.photo", "arguments": {}}
        answer = await self.console.command(device.client_id, "tools/call", params)
        self.assertEqual(answer.json["data"]["content"], [{"type": "text", "text": text}])
        path = f"/v1/devices/{device.client_id}/tools/self.photo"
        answer = await self.console.ask("POST", path, {})
        self.assertEqual(answer.json["result"]["content"], [{"type": "text", "text": text}])

    async def test_device_disconnects(self) -> None:
        """Calls that wait on a device fail at once when it goes, not at their time-out."""
        device = await self.device(10)
        pending = [self.at_once(device.client_id, {"name": HELD}) for _ in range(20)]
        await device.mcp.holding(20)
        gone_at = time.monotonic()
        await device.vanish()
        answers = await gatherResults(pending)
        self.assertLess(time.monotonic() - gone_at, COMMAND_TIME / 2)
        self.assertEqual({answer.status for answer in answers}, {503})
        self.assertEqual(
            answers[0].json, {"success": False, "error": "the device has disconnected"}
        )

    async def test_no_answer(self) -> None:
        """A device that does not answer in the time given is a 504, and is asked nothing more."""
        device = await self.device(11)
        path = f"/v1/devices/{device.client_id}/tools/{HELD}?timeout=1"
        answer = await self.console.ask("POST", path, {})
        self.assertEqual(answer.status, 504)
        self.assertEqual(len(device.mcp.held), 1)


class CallerGoneTests(ApiTestCase):
    """A caller that does not wait for its answer."""

    async def test_caller_goes_away(self) -> None:
        """The answer that comes later is nobody's, the server's least, and does no harm."""
        chat = ChatServer()
        self.addCleanup(chat.close)
        self.start(CHAT_SERVERS=chat.url)
        device = await self.device(12)
        greeted = deferToThread(chat.greet, "s12")
        await device.hello()
        theirs = await greeted
        with socket.create_connection((HOST, self.port)) as caller:
            caller.sendall(self._request(device.client_id))
            await device.mcp.holding(1)
        # The gateway has surely seen the end of that connection once this later one is answered.
        listed = await Console(self.port).command(device.client_id, "tools/list", {})
        self.assertEqual(listed.status, 200)
        mcp_result(device, device.mcp.held[0], {"for": "nobody"})
        device.send({"type": "listen", "state": "after that"})
        heard = await deferToThread(theirs.recv, PATIENCE)
        self.assertEqual(json.loads(heard), {"type": "listen", "state": "after that"})

    def _request(self, client_id: str) -> bytes:
        params = {"name": HELD, "arguments": {}}
        payload = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        body = json.dumps({"type": "mcp", "payload": payload})
        return (
            f"POST /api/commands/{client_id} HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {token(today())}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
