"""The echo server, talked to by a WebSocket client that is not ours."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.tools.child import Child
from xzgw.tools import speech
from xzgw.tools.echo_server import EchoServer
from xzgw.wire.credentials import server_token

MAC, UUID, SECRET = "a0:85:e3:f4:49:34", "aeebef32-f0ef-4bce-9d8a-894d91bc6932", "Te1st12134"
HEADERS = {"device-id": MAC, "client-id": UUID, "protocol-version": "2"}
AUDIO = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
HELLO = {"type": "hello", "version": 2, "transport": "websocket", "audio_params": AUDIO}

T = TypeVar("T")


class Client:
    """The other side, blocking; runs in a thread."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, *texts: dict[str, Any] | str) -> None:
        for text in texts:
            self.socket.send(text if isinstance(text, str) else json.dumps(text))

    def read(self) -> Any:
        """The next message: bytes, or what a text's JSON means."""
        message = self.socket.recv(timeout=5)
        return message if isinstance(message, bytes) else json.loads(message)

    def greet(self) -> dict[str, Any]:
        self.say(HELLO)
        return dict(self.read())

    def speak(self, packets: list[bytes], timestamps: list[int]) -> None:
        for number, (opus, at) in enumerate(zip(packets, timestamps, strict=True)):
            size = len(opus)
            self.socket.send(struct.pack(">BBHIII", 1, 0, size, number, at, size) + opus)

    def turn(self) -> list[Any]:
        """All messages up to and with tts stop."""
        messages = [self.read()]
        while isinstance(messages[-1], bytes) or messages[-1].get("state") != "stop":
            messages.append(self.read())
        return messages

    def closed(self) -> tuple[int, list[Any]]:
        """The close code, and what came before it."""
        messages = []
        try:
            while True:
                messages.append(self.socket.recv(timeout=5))
        except ConnectionClosed as e:
            assert e.rcvd is not None
            return e.rcvd.code, messages


def upgrade(url: str, connection: str, last: bytes) -> bytes:
    """Ask for an upgrade with this Connection header and only read, until `last` has come."""
    parts = urlsplit(url)
    request = (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        f"Connection: {connection}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    received = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as raw:
        raw.sendall(request.encode())
        while last not in received:
            received += raw.recv(4096)
    return received


class EchoServerTestCase(TestCase):
    """One server on a free port."""

    options: ClassVar[dict[str, Any]] = {}

    async def setUp(self) -> None:  # type: ignore[override]
        self.server = EchoServer(reactor, **self.options)
        self.addCleanup(self.server.stop)
        await self.server.listen()

    def client(
        self,
        talk: Callable[[Client], T],
        headers: dict[str, str] | None = None,
        url: str | None = None,
        **options: Any,
    ) -> Deferred[T]:
        """Run `talk` with a connected client in a thread; fires with what it returns."""
        target = self.server.url if url is None else url

        def run() -> T:
            shown = HEADERS if headers is None else headers
            with connect(target, additional_headers=shown, proxy=None, **options) as connected:
                return talk(Client(connected))

        return deferToThread(run)


class HandshakeTests(EchoServerTestCase):
    """What the server makes of an upgrade request."""

    async def refusal(self, **changes: Any) -> tuple[int, str]:
        try:
            await self.client(Client.greet, **changes)
        except InvalidStatus as e:
            return e.response.status_code, e.response.reason_phrase
        raise self.failureException("the upgrade was not refused")

    async def test_path(self) -> None:
        """A path that does not end with ?from=mqtt_gateway is refused with the reason."""
        status, reason = await self.refusal(url=self.server.url + "&more=1")
        self.assertEqual((status, reason), (400, "the path does not end with ?from=mqtt_gateway"))

    async def test_repeated_header(self) -> None:
        """A header that comes twice is a server error."""
        headers: Any = [("device-id", MAC), ("Device-Id", MAC)]
        status, _ = await self.refusal(headers=headers)
        self.assertEqual(status, 500)

    async def test_connection_header(self) -> None:
        """A Connection header other than exactly Upgrade is answered as a browser's would be."""
        answer = await deferToThread(upgrade, self.server.url, "keep-alive, Upgrade", b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 Server is running\r\n"), answer)

    async def test_any_token_without_secret(self) -> None:
        """Without a secret a connection needs no token."""
        reply = await self.client(Client.greet)
        self.assertEqual(reply["type"], "hello")


class TokenTests(EchoServerTestCase):
    """With a secret, each connection's token is checked after the upgrade."""

    options: ClassVar[dict[str, Any]] = {"secret": SECRET}

    def now(self) -> int:
        return int(reactor.seconds())

    def bearer(self, token: str) -> dict[str, str]:
        return {**HEADERS, "authorization": f"Bearer {token}"}

    async def test_right_token(self) -> None:
        """The token that the gateway makes is taken."""
        token = server_token(SECRET, UUID, MAC, self.now())
        reply = await self.client(Client.greet, self.bearer(token))
        self.assertEqual(reply["type"], "hello")

    async def test_wrong_tokens(self) -> None:
        """Wrong, old, other-case or missing tokens get one text that is not JSON, then 1000."""
        old = server_token(SECRET, UUID, MAC, self.now() - 31 * 24 * 3600)
        other = server_token(SECRET, UUID, MAC.upper(), self.now())
        for token in ("test-token", old, other, "", "x.9999999999999999", "é.1"):
            with self.subTest(token=token):
                headers = self.bearer(token) if token else HEADERS
                code, texts = await self.client(Client.closed, headers)
                self.assertEqual((code, texts), (1000, ["认证失败"]))

    async def test_missing_client_id(self) -> None:
        """Without a client-id header the token must be that of the text None."""
        headers = self.bearer(server_token(SECRET, "None", MAC, self.now()))
        del headers["client-id"]
        reply = await self.client(Client.greet, headers)
        self.assertEqual(reply["type"], "hello")


class HelloTests(EchoServerTestCase):
    """The first message."""

    async def test_reply(self) -> None:
        """The reply has a session id and the very audio_params of the hello."""
        reply = await self.client(Client.greet)
        session_id = reply.pop("session_id")
        self.assertEqual(len(session_id), 36)
        wanted = {"type": "hello", "version": 1, "transport": "websocket", "audio_params": AUDIO}
        self.assertEqual(reply, wanted)

    async def test_repeated_hello(self) -> None:
        """A hello that comes again is answered again, in the same session."""
        first, second = await self.client(lambda c: (c.greet(), c.greet()))
        self.assertEqual(first, second)

    async def test_other_message_first(self) -> None:
        """Anything else before hello ends the connection with 1000."""
        for first in ('{"type":"mcp","payload":{}}', b"\x01" + bytes(20)):
            with self.subTest(first=first):

                def talk(client: Client, first: str | bytes = first) -> tuple[int, list[Any]]:
                    client.socket.send(first)
                    return client.closed()

                self.assertEqual(await self.client(talk), (1000, []))

    async def test_not_json(self) -> None:
        """A text that is not a JSON object comes back as it was."""

        def talk(client: Client) -> list[Any]:
            client.greet()
            client.say("小智?", "[1, 2]")
            return [client.socket.recv(timeout=5) for _ in range(2)]

        self.assertEqual(await self.client(talk), ["小智?", "[1, 2]"])


class TurnTests(EchoServerTestCase):
    """Speaking to the server and hearing it speak."""

    def one_turn(self, client: Client, count: int, mode: str = "manual") -> tuple[str, list[Any]]:
        session_id = str(client.greet()["session_id"])
        client.say({"type": "listen", "state": "start", "mode": mode, "session_id": session_id})
        client.speak(speech.packets()[:count], [1000 + 60 * n for n in range(count)])
        if mode == "manual":
            client.say({"type": "listen", "state": "stop", "session_id": session_id})
        return session_id, client.turn()

    async def test_echo(self) -> None:
        """stt, tts start, a sentence, the audio heard with its timestamps, tts stop."""
        session_id, turn = await self.client(lambda c: self.one_turn(c, 8))
        texts = [m for m in turn if isinstance(m, dict)]
        audio = [m for m in turn if isinstance(m, bytes)]
        kinds = [(m["type"], m.get("state")) for m in texts]
        states = ["start", "sentence_start", "stop"]
        self.assertEqual(kinds, [("stt", None), *(("tts", state) for state in states)])
        self.assertEqual({m["session_id"] for m in texts}, {session_id})
        self.assertEqual([m[16:] for m in audio], speech.packets()[:8])
        headers = [struct.unpack_from(">BBHIII", m) for m in audio]
        wanted = [(1, 0, len(m) - 16, n, 1000 + 60 * n, len(m) - 16) for n, m in enumerate(audio)]
        self.assertEqual(headers, wanted)
        self.assertEqual(turn[-1]["state"], "stop")

    async def test_next_turn(self) -> None:
        """Each turn starts anew: only its own audio, sequence from 0."""

        def talk(client: Client) -> list[Any]:
            self.one_turn(client, 3)
            return self.one_turn(client, 2)[1]

        audio = [m for m in await self.client(talk) if isinstance(m, bytes)]
        self.assertEqual([struct.unpack_from(">I", m, 4)[0] for m in audio], [0, 1])

    async def test_auto_mode(self) -> None:
        """A device that never says stop is answered after 3 s of audio."""

        def talk(client: Client) -> int:
            session_id = client.greet()["session_id"]
            start = {"type": "listen", "state": "start", "mode": "auto", "session_id": session_id}
            client.say(start)
            client.speak(speech.packets()[:50], list(range(50)))
            self.assertEqual(client.read()["type"], "stt")
            return len(self.server.connections[0].conversation.turn)

        self.assertEqual(await self.client(talk), 50)

    async def test_abort(self) -> None:
        """abort silences the server: tts stop comes at once and no audio follows."""

        def talk(client: Client) -> list[Any]:
            client.greet()
            client.say({"type": "listen", "state": "start"})
            client.speak(speech.packets()[:40], list(range(40)))
            client.say({"type": "listen", "state": "stop"}, {"type": "abort"})
            heard = client.turn()
            client.say("marker")
            return [m for m in heard if isinstance(m, bytes)] + [client.socket.recv(timeout=5)]

        *audio, last = await self.client(talk)
        self.assertLess(len(audio), 10)
        self.assertEqual(last, "marker")

    async def test_audio_not_listened_to(self) -> None:
        """Audio before listen, and audio that is none, is no part of a turn."""

        def talk(client: Client) -> list[Any]:
            client.greet()
            client.speak(speech.packets()[:4], [1, 2, 3, 4])
            client.say({"type": "listen", "state": "start"})
            for junk in (b"", b"\x01", bytes(16), b"\x01" + bytes(40)):
                client.socket.send(junk)
            client.say({"type": "listen", "state": "stop"}, {"type": "iot"})
            turn = client.turn()
            self.assertEqual(self.server.connections[0].conversation.refused, 4)
            return turn

        turn = await self.client(talk)
        self.assertEqual([m for m in turn if isinstance(m, bytes)], [])
        self.assertEqual(turn[0]["text"], "I heard 0 packets of audio.")


class McpTests(EchoServerTestCase):
    """The server as MCP client of the device."""

    def answer(self, client: Client, result: Any) -> dict[str, Any]:
        """Answer the next MCP request; gives the request."""
        request: dict[str, Any] = client.read()
        reply = {"jsonrpc": "2.0", "id": request["payload"]["id"], **result}
        client.say({"type": "mcp", "payload": reply})
        return request

    def greet(self, client: Client) -> str:
        client.say({**HELLO, "features": {"mcp": True}})
        return str(client.read()["session_id"])

    async def test_order_and_ids(self) -> None:
        """initialize 1 with the vision address, tools/list 2 by pages, then tools/call 1."""

        def talk(client: Client) -> tuple[Any, ...]:
            session_id = self.greet(client)
            initialize = self.answer(client, {"result": {"serverInfo": {"name": "d"}}})
            page = {"tools": [{"name": "a"}], "nextCursor": "b"}
            first = self.answer(client, {"result": page})
            second = self.answer(client, {"result": {"tools": [{"name": "b"}]}})
            client.say("marker")
            client.socket.recv(timeout=5)
            mcp = self.server.connections[0].conversation.mcp
            return session_id, initialize, first, second, mcp

        session_id, initialize, first, second, mcp = await self.client(talk)
        self.assertEqual(initialize["session_id"], session_id)
        self.assertEqual((initialize["type"], initialize["payload"]["jsonrpc"]), ("mcp", "2.0"))
        self.assertEqual(
            [(m["payload"]["id"], m["payload"]["method"]) for m in (initialize, first, second)],
            [(1, "initialize"), (2, "tools/list"), (2, "tools/list")],
        )
        vision = initialize["payload"]["params"]["capabilities"]["vision"]
        self.assertEqual(sorted(vision), ["token", "url"])
        self.assertEqual([m["payload"]["params"] for m in (first, second)], [{}, {"cursor": "b"}])
        self.assertEqual([tool["name"] for tool in mcp.tools], ["a", "b"])
        self.assertEqual(mcp.device_info, {"serverInfo": {"name": "d"}})

    async def test_call(self) -> None:
        """A tool's whole reply comes back to the caller; the first call has id 1."""

        def talk(client: Client) -> tuple[Any, Any]:
            self.greet(client)
            client.read()
            mcp = self.server.connections[0].conversation.mcp
            results: list[Any] = []

            def call() -> None:
                mcp.call("self.x", {"n": 1}).addCallback(results.append)

            reactor.callFromThread(call)  # type: ignore[attr-defined]
            request = self.answer(client, {"error": {"message": "no"}})
            client.say("marker")
            client.socket.recv(timeout=5)
            return request["payload"], results[0]

        request, reply = await self.client(talk)
        self.assertEqual((request["id"], request["method"]), (1, "tools/call"))
        self.assertEqual(request["params"], {"name": "self.x", "arguments": {"n": 1}})
        self.assertEqual(reply["error"], {"message": "no"})


class ClosingTests(EchoServerTestCase):
    """How connections end."""

    options: ClassVar[dict[str, Any]] = {"ping_seconds": 0.05, "idle_seconds": 0.2}

    async def test_idle(self) -> None:
        """A peer that answers pings but says nothing is closed with 1000."""
        self.assertEqual(await self.client(Client.closed), (1000, []))

    async def test_no_pong(self) -> None:
        """A peer that answers no ping is closed with 1011."""
        answer = await deferToThread(upgrade, self.server.url, "Upgrade", b"timeout")
        self.assertIn(b"\x88\x18" + struct.pack(">H", 1011) + b"keepalive ping timeout", answer)

    async def test_too_large(self) -> None:
        """A message above 1 MiB is refused with 1009."""

        def talk(client: Client) -> tuple[int, list[Any]]:
            client.socket.send("x" * (1 << 20) + "y")
            return client.closed()

        self.assertEqual((await self.client(talk))[0], 1009)

    async def test_stop(self) -> None:
        """Stopping closes with 1001 and waits until nobody is connected."""

        def talk(client: Client) -> tuple[int, list[Any]]:
            client.greet()
            reactor.callFromThread(self.server.stop)  # type: ignore[attr-defined]
            return client.closed()

        self.assertEqual(await self.client(talk), (1001, []))
        await self.server.empty()
        self.assertEqual(self.server.connections, [])

    async def test_stop_before_upgrade(self) -> None:
        """A connection that never asked for an upgrade is simply cut."""
        parts = urlsplit(self.server.url)

        def wait_for_end() -> bytes:
            with socket.create_connection((parts.hostname, parts.port), timeout=5) as raw:
                raw.sendall(b"GET")
                reactor.callFromThread(self.server.stop)  # type: ignore[attr-defined]
                try:
                    return raw.recv(1)
                except ConnectionResetError:
                    return b""

        self.assertEqual(await deferToThread(wait_for_end), b"")


class OwnFaultTests(EchoServerTestCase):
    """A fault of the server's own."""

    def fail_to_say(self, line: str) -> None:
        raise RuntimeError(line)

    async def test_internal_error(self) -> None:
        """It is logged, and the connection closed with 1011 instead of being left open."""
        faulty = EchoServer(reactor, say=self.fail_to_say)
        self.addCleanup(faulty.stop)
        await faulty.listen()
        code, _ = await self.client(Client.closed, url=faulty.url)
        self.assertEqual(code, 1011)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class CommandTests(TestCase):
    """`python -m xzgw.tools.echo_server`."""

    timeout = 30

    def start(self, port: int) -> tuple[Child, IProcessTransport]:
        child = Child()
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "xzgw.tools.echo_server", "--port", str(port)]
        process: IProcessTransport = reactor.spawnProcess(child, sys.executable, command, environ)
        self.addCleanup(child.end, process)
        return child, process

    async def test_command(self) -> None:
        """It tells its address, and stops on SIGTERM with all connections closed."""
        child, process = self.start(0)
        url = (await child.shows(r"echo server: (ws://\S+)"))[1]

        def talk() -> int:
            with connect(url, additional_headers=HEADERS, proxy=None) as connected:
                client = Client(connected)
                client.greet()
                process.signalProcess("TERM")
                return client.closed()[0]

        self.assertEqual(await deferToThread(talk), 1001)
        self.assertEqual(await child.ended, 0, child.output)
        self.assertNotIn("Traceback", child.output)

    async def test_port_in_use(self) -> None:
        """A port that is taken is told in one line, with status 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            child, _ = self.start(taken.getsockname()[1])
            self.assertEqual(await child.ended, 1)
        self.assertRegex(child.output, r"\Aecho server: Couldn't listen on .*\n\Z")
