"""The server around the API: bounds in space and time, over real sockets where it matters."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.admin.fakes import CLIENT_ID, Answer, MemoryDoor, Params, device
from tests.admin.support import NOW, PATH, TOKEN, new_app, new_site
from xzgw.admin.bodies import MAX_BODY
from xzgw.admin.event_stream import EventStream
from xzgw.admin.site import ABORT_TIME, CLOSE_TIME, IDLE_TIME, MAX_READ, REQUEST_TIME
from xzgw.core.events import Events

reactor: Any = installed
TOOL = PATH + "/tools/self.slow"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\n"


def request(
    method: str = "GET", path: str = PATH, *headers: str, body: bytes = b"", token: str = TOKEN
) -> bytes:
    """A request's bytes; the length of a body is told unless a header of its own says how."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *headers]
    if body and not any(line.startswith("Transfer-Encoding") for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def post(*headers: str, body: bytes, path: str = TOOL) -> bytes:
    """A POST of JSON."""
    return request("POST", path, "Content-Type: application/json", *headers, body=body)


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, and its end."""
    framed = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b"")]
    return b"".join(framed)


class SiteTestCase(SynchronousTestCase):
    """One connection to a site; the time stands still."""

    limits: ClassVar[dict[str, int]] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = MemoryDoor(device())
        self.events = Events(lambda: NOW, "run")
        self.stream = EventStream(self.events, self.clock)
        app = new_app(self.door, self.stream, self.clock)
        self.site = new_site(app, self.clock, **self.limits)
        self.channel, self.transport = self.connect()

    def connect(self) -> tuple[Any, StringTransport]:
        """One more connection."""
        channel, transport = self.site.buildProtocol(None), StringTransport()
        channel.makeConnection(transport)
        return channel, transport

    def lose(self, channel: Any) -> None:
        """A connection ends."""
        channel.connectionLost(Failure(connectionDone.value))

    def says(self, data: bytes) -> bytes:
        """Send; returns what came back since the last time."""
        self.channel.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What came back since the last time."""
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    def turn(self) -> bytes:
        """The reactor's next, with what was due before it only, unlike Clock.advance; what came
        back.
        """
        for call in [each for each in self.clock.calls if each.getTime() <= self.clock.seconds()]:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return self.heard()


class BodyTests(SiteTestCase):
    """How much of a body is taken."""

    def test_largest(self) -> None:
        """64 KiB pass, in one piece or in chunks."""
        body = b"{}".ljust(MAX_BODY)
        self.assertIn(b" 200 OK", self.says(post(body=body)))
        parts = chunked(body[:1000], body[1000:])
        self.assertIn(b" 200 OK", self.says(post("Transfer-Encoding: chunked", body=parts)))

    def test_too_large(self) -> None:
        """Up to 1 MiB is read but not kept, then answered; the connection lives on."""
        body = b"{}".ljust(MAX_READ)
        self.assertIn(b" 413 ", self.says(post(body=body)))
        parts = chunked(*(b" " * 1000 for _ in range(1000)))
        self.assertIn(b" 413 ", self.says(post("Transfer-Encoding: chunked", body=parts)))
        self.assertIn(b" 200 OK", self.says(request()))
        self.assertFalse(self.transport.disconnecting)

    def test_not_kept(self) -> None:
        """While a body that is too large comes in, no more than its limit is held."""
        self.says(post(f"Content-Length: {MAX_READ}", body=b"")[:-2] + b"\r\n")
        self.says(b" " * (MAX_READ - 1))
        (pending,) = self.channel.requests
        self.assertEqual(len(pending.kept), MAX_BODY + 1)

    def test_declared_far_too_large(self) -> None:
        """More than 1 MiB is refused before it comes, also when the caller asks first."""
        head = post(f"Content-Length: {MAX_READ + 1}", "Expect: 100-continue", body=b"")
        answer = self.says(head)
        self.assertTrue(answer.startswith(TOO_LARGE), answer)
        self.assertTrue(self.transport.disconnecting)

    def test_chunked_far_too_large(self) -> None:
        """So are chunks beyond 1 MiB; what else comes is not looked at."""
        head = post("Transfer-Encoding: chunked", body=b"x")[:-1]
        answer = self.says(head + chunked(b" " * MAX_READ, b" ", b" ") + request())
        self.assertTrue(answer.startswith(TOO_LARGE), answer)
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.door.asked, [])

    def test_no_forms(self) -> None:
        """A form is not parsed, be it broken: its content type is wrong, and that is all."""
        for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
            answer = self.says(request("POST", TOOL, f"Content-Type: {kind}", body=b"timeout=5"))
            self.assertIn(b" 415 ", answer)
        self.assertFalse(self.transport.disconnecting)


class HeadTests(SiteTestCase):
    """Request and response heads."""

    def test_no_server_header(self) -> None:
        """Nobody is told what software this is."""
        for line in (request(), request(path="/x"), request("OPTIONS", "*"), request("HEAD")):
            self.assertNotIn(b"server:", self.says(line).lower())

    def test_length(self) -> None:
        """Answers tell their length, HEAD's that of GET's."""
        got, head = self.says(request()), self.says(request("HEAD"))
        top, body = got.split(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), top)
        dated = [line for line in top.split(b"\r\n") if not line.startswith(b"Date")]
        self.assertTrue(set(dated) <= set(head.split(b"\r\n")), head)
        self.assertTrue(head.endswith(b"\r\n\r\n"))

    def test_absurd_length(self) -> None:
        """A length of thousands of digits is a bad request, not a fault of ours."""
        answer = self.says(post("Content-Length: " + "9" * 5000, body=b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request"), answer)
        self.assertTrue(self.transport.disconnecting)

    def test_absolute_uri(self) -> None:
        """Of one, the path counts, as RFC 9112 section 3.2.2 wants; the host is nobody's."""
        for host in ("http://other", "HTTPS://u@[::1]:8007", "http://"):
            self.assertIn(b" 200 OK", self.says(request(path=host + PATH)))
            self.assertIn(b" 404 ", self.says(request(path=host + "/x" + PATH)))
        self.assertIn(b" 200 OK", self.says(request(path="http://other")))  # the dashboard
        for odd in ("http:/" + PATH, "ftp://other" + PATH, PATH[1:], "x:1"):
            self.assertIn(b" 404 ", self.says(request(path=odd)))

    def test_pipelined(self) -> None:
        """Requests sent at once are answered one after the other, one in each turn of the reactor;
        until then nothing more is read.
        """
        got = [self.says(request() + request(path="/healthz") + request("DELETE")[:-1])]
        self.assertEqual(self.transport.producerState, "paused")
        got += [self.turn(), self.turn()]
        self.assertEqual(self.transport.producerState, "producing")
        got += [
            self.says(b"\n" + request("HEAD", "/healthz") + post(body=b"x")),
            self.turn(),
            self.turn(),
        ]
        statuses = [re.findall(rb"HTTP/1.1 (\d+)", each) for each in got]
        self.assertEqual(statuses, [[b"200"], [b"200"], [], [b"204"], [b"200"], [b"400"]])
        self.assertEqual(self.transport.producerState, "producing")

    def test_pipelined_unread(self) -> None:
        """While the answers so far are not taken, there are no others."""
        self.says(request() * 3)
        self.channel.pauseProducing()
        self.assertEqual(self.turn() + self.turn(), b"")
        self.channel.resumeProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(self.turn().count(b" 200 OK"), 1)
        self.channel.pauseProducing()
        self.channel.resumeProducing()
        self.assertEqual(self.turn().count(b" 200 OK"), 1)
        self.assertEqual(self.transport.producerState, "producing")

    def test_pipelined_after_a_slow_one(self) -> None:
        """What comes while a request is being answered waits for its turn, too."""
        waiting: list[Deferred[Any]] = []
        self.door.devices[CLIENT_ID].answer = _wait(waiting)
        self.assertEqual(self.says(post(body=b"{}") + request() * 2), b"")
        waiting[0].callback(1)
        got = [self.heard(), self.turn(), self.turn(), self.turn()]
        self.assertEqual([each.count(b" 200 OK") for each in got], [1, 1, 1, 0])

    def test_pipelined_and_gone(self) -> None:
        """A connection that ends leaves nothing behind."""
        self.says(request() * 3)
        self.lose(self.channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_http(self) -> None:
        """Anything else is cut off."""
        self.assertIn(b" 400 ", self.says(b"\x16\x03\x01\x00\xee\r\n\r\n"))
        self.assertTrue(self.transport.disconnecting)


class TimeTests(SiteTestCase):
    """Who keeps us waiting."""

    def test_silent(self) -> None:
        """A connection without a request ends."""
        self.clock.advance(REQUEST_TIME)
        self.assertTrue(self.transport.disconnecting)

    def test_trickle(self) -> None:
        """A request that trickles in has no longer than one that does not come."""
        data = request()
        for position in range(0, REQUEST_TIME, 10):
            self.assertFalse(self.transport.disconnecting)
            self.channel.dataReceived(data[position : position + 1])
            self.clock.advance(10)
        self.assertTrue(self.transport.disconnecting)

    def test_each_request_anew(self) -> None:
        """The time starts with each request's first byte, and with the answer before it."""
        for _ in range(3):
            self.clock.advance(REQUEST_TIME - 1)
            self.assertIn(b" 200 OK", self.says(request()))
        self.clock.advance(IDLE_TIME - 1)
        self.channel.dataReceived(b"G")
        self.clock.advance(REQUEST_TIME - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)

    def test_idle(self) -> None:
        """Who asks once a minute may keep the connection; who does not ask any more may not."""
        for _ in range(3):
            self.assertIn(b" 200 OK", self.says(request()))
            self.clock.advance(60)
        self.clock.advance(IDLE_TIME - 60)
        self.assertTrue(self.transport.disconnecting)

    def test_at_the_last_moment(self) -> None:
        """A request that has come before the time was up is answered, though it is read after."""
        self.assertIn(b" 200 OK", self.says(request()))
        self.clock.callLater(IDLE_TIME, self.channel.dataReceived, request())
        self.clock.advance(IDLE_TIME)  # the end of the time comes first
        self.assertIn(b" 200 OK", self.heard())
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(IDLE_TIME)
        self.assertTrue(self.transport.disconnecting)

    def test_gone_at_the_last_moment(self) -> None:
        """A caller that leaves just then leaves nothing behind."""
        channel, _ = self.connect()
        self.clock.callLater(REQUEST_TIME, self.lose, channel)
        self.clock.advance(REQUEST_TIME)
        self.lose(self.channel)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_last_answer(self) -> None:
        """Who takes an answer too slowly is cut off, also if it is the last one by its own wish."""
        last, other = REQUEST_TIME, IDLE_TIME + ABORT_TIME
        for header, patience in (("Connection: close", last), ("X: y", other)):
            channel, transport = self.connect()
            channel.dataReceived(request("GET", PATH, header))
            self.assertIn(b" 200 OK", transport.value())
            self.clock.pump([1] * (patience - 1))
            self.assertFalse(transport.disconnected)
            self.clock.advance(1)
            self.assertTrue(transport.disconnected)
            self.lose(channel)

    def test_not_logged(self) -> None:
        """Strangers who are too slow have no lines in the log; there may be many of them."""
        with capturedLogs() as logs:
            self.channel.dataReceived(b"G")
            self.clock.pump([1] * (REQUEST_TIME + ABORT_TIME))
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(logs, [])

    def test_slow_device(self) -> None:
        """While we are at it, the caller may wait for longer."""
        waiting: list[Deferred[Any]] = []
        self.door.devices[CLIENT_ID].answer = _wait(waiting)
        self.assertEqual(self.says(post(body=b"{}")), b"")
        self.clock.advance(REQUEST_TIME * 2)
        waiting[0].callback(1)
        self.assertIn(b" 200 OK", self.transport.value())


class LimitTests(SiteTestCase):
    """There is room for one connection, and one more is told that there is none."""

    limits: ClassVar = {"max_api_connections": 1}

    def answer(self, data: bytes) -> tuple[bytes, bytes]:
        """Head and body of what one more connection gets for this."""
        channel, transport = self.connect()
        channel.dataReceived(data)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.lose(channel)
        return head, body

    def test_told(self) -> None:
        """503 and when to come again, whatever was asked for, in words that its callers know."""
        for path, content_type, body in (
            ("/healthz", b"application/problem+json; charset=utf-8", b'"status":503'),
            ("/api/commands/x", b"application/json; charset=utf-8", b'"success":false'),
        ):
            head, told = self.answer(request("POST", path, body=b"{}"))
            self.assertTrue(head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"), head)
            self.assertIn(b"\r\nRetry-After: 5\r\n", head)
            self.assertIn(b"\r\nConnection: close\r\n", head)
            self.assertIn(b"\r\nContent-Type: %s\r\n" % content_type, head)
            self.assertTrue(head.endswith(b"\r\nContent-Length: %d" % len(told)), head)
            self.assertIn(body, told)
        head, told = self.answer(request("HEAD"))
        self.assertIn(b" 503 ", head)
        self.assertEqual(told, b"")
        self.assertEqual(self.answer(b"GET / HTTP/1.1\r\nHost: x\r\n"), (b"", b""))

    def test_room(self) -> None:
        """The connection that there is, is served on; when it is gone, there is room again."""
        self.assertIn(b" 503 ", self.answer(request())[0])
        self.assertIn(b" 200 OK", self.says(request()))
        self.lose(self.channel)
        self.assertIn(b" 200 OK", self.answer(request())[0])

    def test_close(self) -> None:
        """The end of the server has nothing to wait for but those that it serves."""
        channel, _ = self.connect()
        closed = self.site.close_all()
        self.lose(self.channel)
        self.successResultOf(closed)
        self.lose(channel)


class CloseTests(SiteTestCase):
    """The end of the server."""

    def test_nobody(self) -> None:
        """With nobody there it is closed at once."""
        self.lose(self.channel)
        self.successResultOf(self.site.close_all())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        """Idle connections are closed at once, and waited for."""
        other, other_transport = self.connect()
        closed = self.site.close_all()
        self.assertTrue(self.transport.disconnecting and other_transport.disconnecting)
        self.lose(self.channel)
        self.assertNoResult(closed)
        self.lose(other)
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_progress(self) -> None:
        """A request in progress still gets its answer."""
        waiting: list[Deferred[Any]] = []
        self.door.devices[CLIENT_ID].answer = _wait(waiting)
        self.says(post(body=b"{}"))
        closed = self.site.close_all()
        self.assertFalse(self.transport.disconnecting)
        waiting[0].callback(1)
        self.assertIn(b" 200 OK", self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.lose(self.channel)
        self.successResultOf(closed)

    def test_never_done(self) -> None:
        """One that takes too long, like a stream of events, is cut off."""
        self.says(request(path="/v1/events"))
        self.events.publish("connect")
        self.assertIn(b"event: connect", self.transport.value())
        closed = self.site.close_all()
        self.clock.advance(CLOSE_TIME)
        self.assertTrue(self.transport.disconnected)
        self.lose(self.channel)
        self.successResultOf(closed)
        self.assertEqual(self.stream.readers, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class _Caller(Protocol):
    """One TCP connection to the server."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()
        self._awaited: tuple[bytes, Deferred[None]] | None = None

    def until(self, text: bytes) -> Deferred[None]:
        """Fires when this has been received."""
        found: Deferred[None] = Deferred()
        self._awaited = text, found
        self.dataReceived(b"")
        return found

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._awaited is not None and self._awaited[0] in self.received:
            found, self._awaited = self._awaited[1], None
            found.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class SocketTests(TestCase):
    """What only real connections show."""

    timeout = 10.0

    async def setUp(self) -> None:  # type: ignore[override]
        self.door = MemoryDoor(device())
        self.stream = EventStream(Events(lambda: NOW, "run"), reactor)
        self.guessed: Deferred[None] = Deferred()
        app = new_app(self.door, self.stream, reactor, self._note_wrong)
        self.site = new_site(app, reactor)
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")

    async def tearDown(self) -> None:  # type: ignore[override]
        await gatherResults([self.port.stopListening(), self.site.close_all()])

    def _note_wrong(self, address: str) -> float:
        self.guessed.callback(None)
        return 3600.0

    async def _call(self, data: bytes) -> Any:
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        caller: Any = await connectProtocol(endpoint, _Caller())
        caller.transport.write(data)
        return caller

    async def test_caller_goes_away(self) -> None:
        """A caller that hangs up cancels what it was waiting for; nothing is logged."""
        for path in (TOOL, "/api/commands/" + CLIENT_ID):
            asked: Deferred[None] = Deferred()
            cancelled: Deferred[None] = Deferred()
            self.door.devices[CLIENT_ID].answer = _never(asked, cancelled)
            body = b'{"type":"mcp","payload":{"method":"x"}}'
            caller = await self._call(post(path=path, body=body))
            await asked
            self.assertFalse(cancelled.called)
            caller.transport.abortConnection()
            await cancelled
            await caller.lost

    async def test_guesser_goes_away(self) -> None:
        """A caller that does not wait for its late 401 leaves nothing behind."""
        caller = await self._call(request(token="wrong"))
        await self.guessed
        caller.transport.abortConnection()
        await caller.lost  # that no timer is left is for trial to see

    async def test_reader_of_events_goes_away(self) -> None:
        """A reader that hangs up is a reader no more; nothing is logged."""
        caller = await self._call(request(path="/v1/events"))
        await caller.until(b"\n\n")
        self.assertEqual(self.stream.readers, 1)
        caller.transport.abortConnection()
        await self.site.close_all()
        self.assertEqual(self.stream.readers, 0)
        await caller.lost

    async def test_too_large(self) -> None:
        """Who sends without end is cut off, and nobody else notices."""
        other = await self._call(b"")
        endless = chunked(b" " * 2 * MAX_READ)
        caller = await self._call(post("Transfer-Encoding: chunked", body=endless))
        await caller.lost
        other.transport.write(request())
        await other.until(b"}")
        self.assertIn(b" 200 OK", other.received)
        other.transport.loseConnection()
        await other.lost


def _wait(waiting: list[Deferred[Any]]) -> Answer:
    """A device that answers when it is told to."""

    def answer(method: str, params: Params) -> Deferred[Any]:
        waiting.append(Deferred())
        return waiting[-1]

    return answer


def _never(asked: Deferred[None], cancelled: Deferred[None]) -> Answer:
    """A device that is asked and never answers, until the question is withdrawn."""

    def answer(method: str, params: Params) -> Deferred[Any]:
        asked.callback(None)
        return Deferred(lambda _: cancelled.callback(None))

    return answer
