"""The WebSocket client against the `websockets` library, and against servers that misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from os import urandom
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from tests.net.certificates import Authority
from tests.support import (
    PATH,
    PATIENCE,
    ChatServer,
    RawServer,
    frame,
    memory_taken,
    read_request,
    read_to_end,
    reset,
    upgrade,
)
from xzgw.net import backend
from xzgw.net.backend import MAX_MESSAGE, Connection, WebSocketDialer
from xzgw.net.resolve import NamedEndpoint, Resolver
from xzgw.net.trust import Trust
from xzgw.net.websocket import MAX_BACKLOG, MAX_FRAGMENTS, MAX_HANDSHAKE
from xzgw.tools.steps import Watch

T = TypeVar("T")

HEADERS = {
    "device-id": "a0:85:e3:f4:49:34",
    "client-id": "aeebef32-f0ef-4bce-9d8a-894d91bc6932",
    "protocol-version": "2",
    "authorization": "Bearer test-token",
    "x-forwarded-for": "198.51.100.7",
}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Events:
    """Notes what one connection tells (core.ports.BackendEvents)."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []
        self._watch = Watch(reactor)

    def opened(self) -> None:
        self._note("opened", None)

    def text(self, text: bytes) -> None:
        self._note("text", text)

    def audio(self, message: bytes) -> None:
        self._note("audio", message)

    def lost(self, reason: str) -> None:
        self._note("lost", reason)

    def of(self, kind: str) -> list[Any]:
        return [value for name, value in self.log if name == kind]

    def some(self, kind: str, count: int = 1) -> Deferred[list[Any]]:
        """Fire with that many events of a kind."""

        def there() -> list[Any] | None:
            found = self.of(kind)
            return found if len(found) >= count else None

        return self._watch.until(kind, there, PATIENCE)

    def _note(self, name: str, value: object) -> None:
        self.log.append((name, value))
        self._watch.changed()


class FaultyEvents(Events):
    """Fails in one of its methods, as only a fault of ours would."""

    def __init__(self, fault: str, error: Exception) -> None:
        super().__init__()
        self._fault = fault
        self._error = error

    def _note(self, name: str, value: object) -> None:
        super()._note(name, value)
        if name == self._fault:
            raise self._error


class BackendTestCase(TestCase):
    """Each test ends with every connection lost exactly once, last of all events."""

    timeout = 30

    def setUp(self) -> None:
        self.trust = Trust(None)
        self.dialer = WebSocketDialer(
            reactor,
            partial(NamedEndpoint, reactor, Resolver(reactor)),
            self.trust,
            urandom,
        )
        self._all: list[Events] = []

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return self.dialer.when_idle().addCallback(self._check_ends)

    def _check_ends(self, _: object) -> None:
        for events in self._all:
            self.assertEqual(len(events.of("lost")), 1, events.log[-3:])
            self.assertEqual(events.log[-1][0], "lost")

    def chat_server(self, **options: Any) -> ChatServer:
        server = ChatServer(**options)
        self.addCleanup(deferToThread, server.close)
        return server

    def raw_server(
        self, script: Callable[[socket.socket], None], receive_buffer: int = 0
    ) -> RawServer:
        server = RawServer(script, receive_buffer)
        self.addCleanup(deferToThread, server.close)
        return server

    def dial(self, url: str, events: Events | None = None) -> tuple[Connection, Events]:
        events = Events() if events is None else events
        self._all.append(events)
        return self.dialer(url, HEADERS, events), events

    async def open(
        self, server: ChatServer | None = None, events: Events | None = None
    ) -> tuple[Connection, Events, ServerConnection]:
        """A WebSocket with both its ends."""
        server = server or self.chat_server()
        connection, events = self.dial(server.url, events)
        theirs = await deferToThread(server.accept)
        await events.some("opened")
        return connection, events, theirs

    def deaf_server(self, wrap: Callable[[socket.socket], socket.socket]) -> str:
        """Where one is that reads nothing after the handshake; wrap may put TLS before it."""
        ended = Event()

        def script(peer: socket.socket) -> None:
            with wrap(peer) as wrapped:
                wrapped.sendall(upgrade(read_request(wrapped)))
                ended.wait(3 * PATIENCE)

        url = self.raw_server(script, receive_buffer=4096).url
        self.addCleanup(ended.set)
        return url

    async def not_taken(self, url: str) -> None:
        """Send until the connection is cut off, for the server does not read: nothing is kept."""
        connection, events = self.dial(url)
        await events.some("opened")
        with memory_taken() as taken:
            while not events.of("lost"):
                connection.send_text(b"x" * 100_000)
                await next_round()
            await next_round()
            self.assertLess(taken(), 100_000)


def next_round() -> Deferred[None]:
    """Fires when all that is happening has happened."""
    return deferLater(reactor, 0, lambda: None)


async def reads(theirs: ServerConnection) -> Any:
    """The next message that the server gets."""
    return await deferToThread(theirs.recv, PATIENCE)


async def closed_with(theirs: ServerConnection) -> int | None:
    """The close code that the server gets."""
    try:
        await deferToThread(theirs.recv, PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None
    raise AssertionError("a message instead of a close")


class HandshakeTests(BackendTestCase):
    """What the server sees of the opening handshake."""

    async def test_request(self) -> None:
        """The path untouched, each header once, and `Connection` exactly `Upgrade`."""
        connection, _, theirs = await self.open()
        request = theirs.request
        assert request is not None
        self.assertEqual(request.path, PATH)
        names = [name.lower() for name, _ in request.headers.raw_items()]
        self.assertEqual(len(names), len(set(names)), names)
        self.assertEqual(request.headers["Connection"], "Upgrade")
        for name, value in HEADERS.items():
            self.assertEqual(request.headers[name], value)
        connection.close(1000, "")

    async def test_odd_paths(self) -> None:
        """Percent escapes, repeated slashes, empty values and odd characters stay as they are."""
        server = self.chat_server()
        host = server.url.removesuffix(PATH)
        for path in (
            "/%7exiaozhi/%2F/v1/?token=a%20b+c%26d&from=mqtt_gateway",
            "//v1/;x=1/./../?&&a=&b&from=mqtt_gateway",
            "/v1?A=%E4%BD%A0&q=?/&sig='~*()!$,:@&from=mqtt_gateway",
            "/",
        ):
            connection, _ = self.dial(host + path)
            theirs = await deferToThread(server.accept)
            assert theirs.request is not None
            self.assertEqual(theirs.request.path, path)
            connection.close(1000, "")

    async def test_no_path(self) -> None:
        """An address without a path means the root."""
        server = self.chat_server()
        connection, _ = self.dial(server.url.removesuffix(PATH))
        theirs = await deferToThread(server.accept)
        assert theirs.request is not None
        self.assertEqual(theirs.request.path, "/")
        connection.close(1000, "")

    async def test_ipv6(self) -> None:
        """An IPv6 address is bracketed in the Host header."""
        got: list[bytes] = []
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            port = listener.getsockname()[1]
            _, events = self.dial(f"ws://[::1]:{port}/")

            def serve() -> None:
                peer, _ = listener.accept()
                with peer:
                    got.append(read_request(peer))

            await deferToThread(serve)
            await events.some("lost")
        self.assertIn(f"\r\nHost: [::1]:{port}\r\n".encode(), got[0])

    async def test_refuses(self) -> None:
        """A port where nobody listens: lost, with the reason."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            _, events = self.dial(f"ws://127.0.0.1:{nobody.getsockname()[1]}/")
            (reason,) = await events.some("lost")
        self.assertIn("cannot connect: ", reason)
        self.assertIn("refused", reason)

    async def test_unknown_host(self) -> None:
        """A name that does not exist: lost, with the reason."""
        _, events = self.dial("ws://no-such-host.invalid/")
        (reason,) = await events.some("lost")
        self.assertIn("cannot connect: ", reason)

    async def test_given_up_before_connected(self) -> None:
        """Closing a dial that has not got through gives it up at once."""
        connection, events = self.dial("ws://127.0.0.1:1/")
        connection.close(1000, "")
        self.assertEqual(events.log, [("lost", "given up")])
        connection.close(1000, "")
        connection.send_text(b"nobody is there")
        connection.send_audio(1, 2, b"x")
        self.assertEqual(connection.audio_dropped, 1)

    async def test_hangs_before_upgrade(self) -> None:
        """Closing while the server hesitates drops the connection."""
        hanging = Deferred[None]()

        def script(peer: socket.socket) -> None:
            read_request(peer)
            reactor.callFromThread(hanging.callback, None)  # type: ignore[attr-defined]
            read_to_end(peer)

        connection, events = self.dial(self.raw_server(script).url)
        await hanging
        self.assertEqual(events.log, [])
        connection.close(1000, "no hello in time")
        (reason,) = await events.some("lost")
        self.assertEqual(reason, "connection lost: no hello in time")

    async def test_rejected(self) -> None:
        """A server that answers with an HTTP error: lost, with its status."""
        for status, phrase in ((401, "Unauthorized"), (403, "Forbidden"), (502, "Bad Gateway")):

            def reject(theirs: ServerConnection, _: Request, status: int = status) -> Response:
                return theirs.respond(status, "no")

            _, events = self.dial(self.chat_server(process_request=reject).url)
            (reason,) = await events.some("lost")
            self.assertIn(f"[{status}]: {phrase}", reason)

    async def answered(self, *pieces: bytes) -> str:
        """Why a handshake is lost that a server answers with these bytes."""

        def script(peer: socket.socket) -> None:
            read_request(peer)
            for piece in pieces:
                peer.sendall(piece)
            read_to_end(peer)

        _, events = self.dial(self.raw_server(script).url)
        (reason,) = await events.some("lost")
        self.assertEqual(events.of("opened"), [])
        return str(reason)

    async def test_junk(self) -> None:
        """What is not HTTP: lost."""
        self.assertIn("Bad HTTP", await self.answered(b"\x16\x03\x01\r\n\r\n"))
        self.assertIn("Unsupported HTTP", await self.answered(b"SSH-2.0 x\r\n\r\n"))
        self.assertIn("Bad HTTP", await self.answered(b"\r\n\r\n"))
        self.assertIn("Bad HTTP", await self.answered(b"HTTP/1.1 abc\r\n\r\n"))

    async def test_not_text(self) -> None:
        """Bytes that are no text at all: lost, and no fault of ours."""
        reason = await self.answered(b"HTTP/1.1 101 \xff\xfe\r\nA: \x80\r\n\r\n")
        self.assertIn("connection lost: the server cannot be understood: ", reason)

    async def test_endless_header(self) -> None:
        """An HTTP answer that never ends: cut off beyond 16 KiB."""
        line = b"X-Filler: " + bytes(1000).replace(b"\0", b"x") + b"\r\n"
        reason = await self.answered(b"HTTP/1.1 101 OK\r\n", *[line] * (MAX_HANDSHAKE // 1000 + 1))
        self.assertEqual(reason, "connection lost: the server's HTTP answer has no end")

    async def test_wrong_accept_key(self) -> None:
        """A 101 made for another request: lost."""
        reason = await self.answered(upgrade(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"))
        self.assertIn("Sec-WebSocket-Accept", reason)

    async def test_closes_at_once(self) -> None:
        """A server that hangs up without an answer: lost."""

        def script(peer: socket.socket) -> None:
            read_request(peer)

        _, events = self.dial(self.raw_server(script).url)
        (reason,) = await events.some("lost")
        self.assertIn("connection lost: ", reason)
        self.assertNotIn("None", reason)


class MessageTests(BackendTestCase):
    """Texts and audio."""

    async def test_texts(self) -> None:
        """Both ways, byte for byte."""
        connection, events, theirs = await self.open()
        for text in ('{"a":1.0e2, "b":"\\u4f60好 \\/"}', "认证失败", ""):
            connection.send_text(text.encode())
            self.assertEqual(await reads(theirs), text)
            theirs.send(text)
        texts = await events.some("text", 3)
        self.assertEqual(texts[0], '{"a":1.0e2, "b":"\\u4f60好 \\/"}'.encode())
        self.assertEqual(texts[1:], ["认证失败".encode(), b""])
        connection.close(1000, "")

    async def test_audio(self) -> None:
        """Both ways; ours with the server's header."""
        connection, events, theirs = await self.open()
        connection.send_audio(7, 1234, b"opus")
        self.assertEqual(await reads(theirs), struct.pack(">BBHIII", 1, 0, 4, 7, 1234, 4) + b"opus")
        for message in (b"", b"\x01", bytes(15), bytes(16), bytes(range(256))):
            theirs.send(message)
        self.assertEqual(
            await events.some("audio", 5), [b"", b"\x01", bytes(15), bytes(16), bytes(range(256))]
        )
        self.assertEqual(connection.audio_dropped, 0)
        connection.close(1000, "")

    async def test_fragments(self) -> None:
        """A message in fragments is one message, also with a ping between them."""
        connection, events, theirs = await self.open()
        await deferToThread(theirs.send, ["你"[:1], "", "好", "!"])
        await deferToThread(theirs.send, [b"\x01", b"\x02\x03"])
        self.assertEqual(await events.some("text"), ["你好!".encode()])
        self.assertEqual(await events.some("audio"), [b"\x01\x02\x03"])
        connection.close(1000, "")

    async def test_largest(self) -> None:
        """A message of 1 MiB arrives."""
        connection, events, theirs = await self.open()
        text = "x" * MAX_MESSAGE
        await deferToThread(theirs.send, text)
        (got,) = await events.some("text")
        self.assertEqual(got, text.encode())
        connection.close(1000, "")

    async def test_too_large(self) -> None:
        """One byte more ends the connection, in one frame or in fragments."""
        for message in ("x" * (MAX_MESSAGE + 1), ["x" * 600_000, "x" * 600_000]):
            _, events, theirs = await self.open()
            sending = deferToThread(theirs.send, message)
            (reason,) = await events.some("lost")
            await sending.addErrback(lambda failure: failure.trap(ConnectionClosed))
            self.assertIn("connection lost: ", reason)
            self.assertEqual(events.of("text"), [])

    async def test_larger_to_the_server(self) -> None:
        """What a server takes is for the server to say: texts to it have no limit of ours."""
        connection, _, theirs = await self.open(self.chat_server(max_size=None))
        text = b"x" * (2 * MAX_MESSAGE)
        connection.send_text(text)
        self.assertEqual(await reads(theirs), text.decode())
        connection.close(1000, "")

    async def test_ping(self) -> None:
        """The server's pings are answered."""
        connection, _, theirs = await self.open()
        pong = await deferToThread(theirs.ping, b"are you there")
        self.assertTrue(await deferToThread(pong.wait, PATIENCE))
        connection.close(1000, "")

    async def after_upgrade(self, data: bytes, events: Events | None = None) -> Events:
        """What comes of a server that sends this together with its 101, then waits."""

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + data)
            read_to_end(peer)

        _, events = self.dial(self.raw_server(script).url, events)
        await events.some("lost")
        return events

    async def test_first_message_with_the_upgrade(self) -> None:
        """Messages in the same segment as the 101 arrive, after `opened`, even long ones."""
        long = b"x" * 3 * MAX_HANDSHAKE
        data = frame(TEXT, b"{}") + frame(TEXT, long) + frame(CLOSE, struct.pack(">H", 1000))

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + data)
            peer.shutdown(socket.SHUT_WR)

        _, events = self.dial(self.raw_server(script).url)
        await events.some("lost")
        self.assertEqual(
            events.log,
            [
                ("opened", None),
                ("text", b"{}"),
                ("text", long),
                ("lost", "server closed with 1000"),
            ],
        )

    async def test_bad_utf8(self) -> None:
        """A text that is not UTF-8 ends the connection, as RFC 6455 section 8.1 wants."""
        events = await self.after_upgrade(frame(TEXT, b"\xff\xfe"))
        self.assertEqual([name for name, _ in events.log], ["opened", "lost"])
        self.assertIn("UTF-8", events.of("lost")[0])

    async def test_bad_frames(self) -> None:
        """Frames against RFC 6455 end the connection: reserved bits and opcodes, stray
        continuation, long or fragmented ping, masked frame, odd length, odd close."""
        for data in (
            b"\xc1\x00",
            b"\x83\x00",
            frame(0, b"x"),
            frame(PING, bytes(126)),
            frame(PING, b"x", final=False),
            b"\x81\x80\x00\x00\x00\x00",
            b"\x81\x7e\x00\x01x",
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
            frame(CLOSE, b"\x03"),
            frame(CLOSE, struct.pack(">H", 999)),
            frame(CLOSE, struct.pack(">H", 1000) + b"\xff"),
        ):
            events = await self.after_upgrade(data)
            self.assertEqual([name for name, _ in events.log], ["opened", "lost"], data)

    async def test_too_many_fragments(self) -> None:
        """A message may come in a thousand fragments, in empty ones, too, but not without end."""
        for fragment in (frame(0, b"", final=False), frame(0, b"x", final=False)):
            begun = frame(TEXT, b"", final=False) + fragment * (MAX_FRAGMENTS - 2)
            end = frame(CLOSE, struct.pack(">H", 1000))
            events = await self.after_upgrade(begun + frame(0, b"") + end)
            (text,) = events.of("text")
            self.assertEqual(len(text), fragment.count(b"x") * (MAX_FRAGMENTS - 2))
            events = await self.after_upgrade(begun + fragment * 2)
            self.assertEqual(
                events.of("lost"), ["connection lost: the server's message has too many fragments"]
            )

    async def test_pongs_not_logged(self) -> None:
        """Pongs that answer no ping of ours, while one is on its way, leave no lines in the log."""
        self.patch(backend, "PING_EVERY", 1)
        pongs = 50

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            self.assertEqual(peer.recv(1), bytes((0x80 | PING,)))
            peer.sendall(frame(PONG, b"odd") * pongs + frame(CLOSE, struct.pack(">H", 1000)))
            read_to_end(peer)

        with capturedLogs() as logs:
            _, events = self.dial(self.raw_server(script).url)
            await events.some("lost")
        self.assertEqual([event for event in logs if "pong" in (formatEvent(event) or "")], [])

    async def test_refusal_not_logged(self) -> None:
        """Nor does an upgrade that fails: the session tells it, and has made its words harmless."""

        def script(peer: socket.socket) -> None:
            read_request(peer)
            peer.sendall(b"HTTP/1.1 403 \x1b[31m\r\n\r\n")

        with capturedLogs() as logs:
            _, events = self.dial(self.raw_server(script).url)
            (reason,) = await events.some("lost")
        self.assertTrue(reason.isprintable())
        self.assertEqual([event for event in logs if "403" in (formatEvent(event) or "")], [])


class SlowServerTests(BackendTestCase):
    """A server that does not keep up."""

    async def test_audio_dropped(self) -> None:
        """Audio it does not take in time is dropped and counted, the rest arrives in order; when
        it has caught up, audio flows again."""
        connection, _, theirs = await self.open()
        opus = bytes(1000)
        sent = 0
        while not connection.audio_dropped:
            connection.send_audio(sent, 0, opus)
            sent += 1
            self.assertLess(sent, 50_000)  # more than all buffers on the way can take
        dropped = connection.audio_dropped
        for sequence in range(sent - dropped):
            message = await reads(theirs)
            self.assertEqual(struct.unpack_from(">4xI", message)[0], sequence)
        connection.send_audio(999, 0, opus)
        self.assertEqual(struct.unpack_from(">4xI", await reads(theirs))[0], 999)
        self.assertEqual(connection.audio_dropped, dropped)
        connection.close(1000, "")

    async def test_never_reads(self) -> None:
        """Of a server that has stopped reading no more than 256 KiB of text is kept; then it is
        cut off. Until then audio is dropped instead of text."""
        ended = Event()
        self.addCleanup(ended.set)

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            ended.wait(3 * PATIENCE)

        connection, events = self.dial(self.raw_server(script, receive_buffer=4096).url)
        await events.some("opened")
        while not connection.audio_dropped:
            connection.send_audio(0, 0, bytes(1400))
        kept = 0
        while kept + 1000 <= MAX_BACKLOG:
            connection.send_text(b"x" * 1000)
            kept += 1000
        self.assertEqual(events.of("lost"), [])
        connection.send_text(b"x" * 1000)
        connection.close(1000, "too late")
        (reason,) = await events.some("lost")
        self.assertEqual(reason, "connection lost: the server does not read")
        connection.send_text(b"x")
        ended.set()

    async def test_pongs_not_taken(self) -> None:
        """Pongs count as text does: a server that pings but does not read is cut off."""
        most = 200  # MiB, of pings

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            pings = frame(PING, bytes(125)) * 8000
            try:
                for _ in range(most):
                    peer.sendall(pings)
            except ConnectionError:
                pass  # cut off

        _, events = self.dial(self.raw_server(script, receive_buffer=4096).url)
        (reason,) = await events.some("lost")
        self.assertEqual(reason, "connection lost: the server does not read")


class CloseTests(BackendTestCase):
    """The end of a connection, from either side."""

    async def test_by_us(self) -> None:
        """The server gets the code and the reason."""
        for code in (1000, 1001):
            connection, events, theirs = await self.open()
            connection.close(code, "why " + "é" * 100)
            connection.close(1011, "only the first counts")
            self.assertEqual(await closed_with(theirs), code)
            await events.some("lost")
            rcvd = theirs.protocol.close_rcvd
            assert rcvd is not None
            self.assertTrue(rcvd.reason.startswith("why éé"))

    async def test_reason_forges_no_log(self) -> None:
        """Line ends and escapes in the server's reason do not come through."""
        _, events, theirs = await self.open()
        await deferToThread(theirs.close, 4000, "x\n2026 [forged#info]\r\x1b[31m")
        (said,) = await events.some("lost")
        self.assertEqual(said, "server closed with 4000: x 2026 [forged#info]  [31m")

    async def test_by_the_server(self) -> None:
        """`lost` tells the server's code and reason."""
        for code, reason in ((1000, ""), (1001, "bye"), (1011, "oops"), (3000, ""), (4003, "no")):
            _, events, theirs = await self.open()
            await deferToThread(theirs.close, code, reason)
            (said,) = await events.some("lost")
            self.assertEqual(said, f"server closed with {code}" + (f": {reason}" if reason else ""))

    async def test_without_code(self) -> None:
        """A server may close without a code."""

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + frame(CLOSE, b""))
            peer.shutdown(socket.SHUT_WR)

        _, events = self.dial(self.raw_server(script).url)
        (said,) = await events.some("lost")
        self.assertEqual(said, "server closed without a code")

    async def test_reset(self) -> None:
        """A connection that breaks: lost, with the reason."""

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + b"\x81\x05ab")
            peer.recv(1)
            reset(peer)

        connection, events = self.dial(self.raw_server(script).url)
        await events.some("opened")
        connection.send_text(b"now")
        (reason,) = await events.some("lost")
        self.assertIn("connection lost: ", reason)
        self.assertNotIn("None", reason)
        connection.close(1000, "too late")

    async def test_close_is_not_answered(self) -> None:
        """A server that does not answer our close is cut off after a second."""

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            read_to_end(peer)

        connection, events = self.dial(self.raw_server(script).url)
        await events.some("opened")
        connection.close(1001, "stopping")
        (reason,) = await events.some("lost")
        self.assertEqual(reason, "connection lost: the server did not close in time")

    async def test_closes_and_stays(self) -> None:
        """A server that says close but keeps the TCP connection is cut off after a second."""

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + frame(CLOSE, struct.pack(">H", 1000)))
            read_to_end(peer)

        _, events = self.dial(self.raw_server(script).url)
        await events.some("lost")

    async def test_goes_on(self) -> None:
        """What the server says after its close is not heard."""

        def script(peer: socket.socket) -> None:
            late = frame(TEXT, b"{}") + frame(BINARY, b"late") + frame(TEXT, b"x" * 300)
            close = frame(CLOSE, struct.pack(">H", 1000))
            peer.sendall(upgrade(read_request(peer)) + frame(TEXT, b"{}") + close + late)
            read_to_end(peer)

        _, events = self.dial(self.raw_server(script).url)
        await events.some("lost")
        self.assertEqual((events.of("text"), events.of("audio")), ([b"{}"], []))

    async def test_vanished(self) -> None:
        """A server that does not answer our pings is cut off; one that does is not."""
        # autobahn cuts the end of these times to whole seconds: either may be one shorter.
        self.patch(backend, "PING_EVERY", 1)
        self.patch(backend, "PING_TIME", 2)

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            read_to_end(peer)

        connection, answered, _ = await self.open()
        _, events = self.dial(self.raw_server(script).url)
        (reason,) = await events.some("lost")
        self.assertIn("ping timeout", reason)
        self.assertEqual(answered.of("lost"), [])
        connection.close(1000, "")

    async def test_nothing_kept(self) -> None:
        """What came of a message that stays incomplete goes with the connection, not some time
        later."""
        half = frame(BINARY, bytes(600_000))[:-1]
        goes_on, goes = Event(), Event()

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)))
            for event, data in ((goes_on, half), (goes, b"")):
                event.wait(PATIENCE)
                peer.sendall(data)

        _, events = self.dial(self.raw_server(script).url)
        await events.some("opened")
        with memory_taken() as taken:
            goes_on.set()
            while taken() < len(half):
                await next_round()
            goes.set()
            await events.some("lost")
            await next_round()
            self.assertLess(taken(), 100_000)

    async def test_nothing_unsent_kept(self) -> None:
        """Nor does what the server did not take stay for longer."""
        await self.not_taken(self.deaf_server(lambda peer: peer))

    async def test_idle(self) -> None:
        """`when_idle` fires at once without connections, and else with the end of the last."""
        idle = self.dialer.when_idle()
        self.assertTrue(idle.called)
        server = self.chat_server()
        pairs = [await self.open(server) for _ in range(2)]
        idle = self.dialer.when_idle()
        for connection, events, _ in pairs:
            self.assertFalse(idle.called)
            connection.close(1001, "stopping")
            await events.some("lost")
        await idle


class FaultTests(BackendTestCase):
    """A fault of ours in a callback is logged and closes with 1011; nothing else happens."""

    async def test_opened(self) -> None:
        """While the connection opens."""
        server = self.chat_server()
        _, events = self.dial(server.url, FaultyEvents("opened", RuntimeError("a fault")))
        theirs = await deferToThread(server.accept)
        self.assertEqual(await closed_with(theirs), 1011)
        await events.some("lost")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_message(self) -> None:
        """While a message is taken, whatever the exception."""
        for error in (RuntimeError("a fault"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x")):
            _, events, theirs = await self.open(events=FaultyEvents("text", error))
            theirs.send("{}")
            self.assertEqual(await closed_with(theirs), 1011)
            await events.some("lost")
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    async def test_message_with_the_upgrade(self) -> None:
        """While a message is taken that came with the 101."""
        got: list[bytes] = []

        def script(peer: socket.socket) -> None:
            peer.sendall(upgrade(read_request(peer)) + frame(TEXT, b"{}"))
            got.append(read_to_end(peer))

        server = self.raw_server(script)
        _, events = self.dial(server.url, FaultyEvents("text", RuntimeError("a fault")))
        await events.some("lost")
        await deferToThread(server.close)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(got[0][0], 0x88)


class TlsTests(BackendTestCase):
    """wss:// with the certificate and the host name verified."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.mktemp())
        self.trust.load(Path(self.authority.path).read_bytes())

    def server(self, *names: str) -> str:
        """The port of a server with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.certificate(*names))
        self.chat = self.chat_server(ssl=context)
        return f":{self.chat.port}{PATH}"

    async def test_trusted(self) -> None:
        """A host name, or an IP address, that the certificate has: as over ws://."""
        for host in ("localhost", "127.0.0.1"):
            connection, events = self.dial(f"wss://{host}" + self.server(host))
            theirs = await deferToThread(self.chat.accept)
            await events.some("opened")
            connection.send_text(b"{}")
            self.assertEqual(await reads(theirs), "{}")
            theirs.send("[]")
            self.assertEqual(await events.some("text"), [b"[]"])
            connection.close(1001, "")
            self.assertEqual(await closed_with(theirs), 1001)
            (reason,) = await events.some("lost")
            self.assertEqual(reason, "server closed with 1001")

    async def refused(self, url: str) -> str:
        """Why a server is lost without ever being open."""
        _, events = self.dial(url)
        (reason,) = await events.some("lost")
        self.assertEqual(events.of("opened"), [])
        return str(reason)

    def context(self) -> ssl.SSLContext:
        """What a raw server wraps its sockets with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.certificate("localhost"))
        return context

    async def test_nothing_unsent_kept(self) -> None:
        """What the server did not take goes with the connection, as over ws://."""
        context = self.context()
        url = self.deaf_server(lambda peer: context.wrap_socket(peer, server_side=True))
        await self.not_taken(url.replace("ws://127.0.0.1", "wss://localhost"))

    async def test_many_at_once(self) -> None:
        """Thousands of frames at once come in portions, and all of them."""
        context = self.context()

        def script(peer: socket.socket) -> None:
            with context.wrap_socket(peer, server_side=True) as wrapped:
                wrapped.sendall(upgrade(read_request(wrapped)) + frame(TEXT, b"{}") * 1000)
                read_to_end(wrapped)

        url = self.raw_server(script).url.replace("ws://127.0.0.1", "wss://localhost")
        connection, events = self.dial(url)
        self.assertEqual(await events.some("text", 1000), [b"{}"] * 1000)
        connection.close(1000, "")

    async def test_wrong_host_name(self) -> None:
        """A trusted certificate for somebody else is refused, and the reason says so."""
        reason = await self.refused("wss://localhost" + self.server("chat.example"))
        self.assertEqual(reason, "TLS failed: certificate is not valid for this host name")

    async def test_unknown_authority(self) -> None:
        """A certificate of an authority that is not trusted is refused, and the reason says so."""
        other = Authority(self.mktemp(), "another authority")
        self.trust.load(Path(other.path).read_bytes())
        reason = await self.refused("wss://localhost" + self.server("localhost"))
        self.assertIn("TLS failed: certificate chain of 'test server' cannot be verified: ", reason)

    async def test_no_tls(self) -> None:
        """A server that speaks plain HTTP is refused."""

        def script(peer: socket.socket) -> None:
            peer.recv(1)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            read_to_end(peer)

        url = self.raw_server(script).url
        reason = await self.refused(url.replace("ws://127.0.0.1", "wss://localhost"))
        self.assertIn("TLS failed: ", reason)

    async def test_closes_at_once(self) -> None:
        """One that does not know what to make of TLS may just close; the reason says what may be
        wrong, however much it took first."""

        def script(much: int, peer: socket.socket) -> None:
            peer.recv(much)

        for much in (1, 4096):
            url = self.raw_server(partial(script, much)).url
            reason = await self.refused(url.replace("ws://127.0.0.1", "wss://localhost"))
            self.assertEqual(
                reason, "TLS failed: the server closed during the handshake; is it ws://?"
            )

    async def test_given_up(self) -> None:
        """The end of a handshake that the gateway has given up is not the server's doing."""
        came = Event()

        def script(peer: socket.socket) -> None:
            peer.recv(1)
            came.set()
            read_to_end(peer)

        url = self.raw_server(script).url
        connection, events = self.dial(url.replace("ws://127.0.0.1", "wss://localhost"))
        self.assertTrue(await deferToThread(came.wait, PATIENCE))
        connection.close(1001, "no hello in time")
        self.assertEqual(await events.some("lost"), ["connection lost: no hello in time"])

    async def test_closes_after_handshake(self) -> None:
        """With TLS open, it is the WebSocket that failed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority.certificate("localhost"))

        def script(peer: socket.socket) -> None:
            context.wrap_socket(peer, server_side=True).close()

        url = self.raw_server(script).url
        reason = await self.refused(url.replace("ws://127.0.0.1", "wss://localhost"))
        self.assertIn("connection lost: peer dropped the TCP connection", reason)
