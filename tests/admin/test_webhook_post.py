"""One try to deliver one event, to real servers on loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.admin.receiver import Answer, Receiver, hang, hang_up, status
from xzgw import __version__
from xzgw.admin.webhook_post import (
    ANSWER,
    BODY,
    BODY_PATIENCE,
    PATIENCE,
    Delivery,
    Undelivered,
    deliver,
    poster,
    signature,
)

BODY_SENT = '{"id":"run-7","kind":"call","name":"小智"}'.encode()
MOMENT = 0.05  # s
NO_ANSWER = "its answer is none, or too long"
DELIVERY = Delivery("run-7", "call", BODY_SENT)


class SignatureTests(SynchronousTestCase):
    """How deliveries are signed."""

    def test_known(self) -> None:
        """HMAC-SHA256 in hex. Source: RFC 4231, test case 2."""
        expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        self.assertEqual(signature("Jefe", b"what do ya want for nothing?"), f"sha256={expected}")


class DeliverTestCase(TestCase):
    """A receiver, and a clock that stands still unless it is moved."""

    timeout = 20
    reactor: Any = reactor

    def setUp(self) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        site = Site(self.receiver, timeout=None)
        site.noisy = False
        self.url = f"http://127.0.0.1:{self.listen(site)}/hook?key=1"
        self.post = poster(self.reactor)

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def listen(self, factory: Any) -> int:
        """The port that it listens on."""
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def deliver(self, url: str = "", secret: str | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(
            deliver(self.post, self.clock, url or self.url, secret, DELIVERY)
        )

    async def refused(self, delivering: Deferred[None]) -> str:
        """Why it is not delivered."""
        try:
            await delivering
        except Undelivered as problem:
            return str(problem)
        raise AssertionError("delivered")

    async def requested(self, count: int = 1) -> None:
        await self.receiver.until(lambda: len(self.receiver.requests) >= count)

    async def left(self) -> None:
        """Until the receiver's caller is gone."""
        await self.receiver.until(lambda: self.receiver.left == 1)


class RequestTests(DeliverTestCase):
    """What the receiver gets."""

    async def test_request(self) -> None:
        """The event as it is, with headers that tell what it is."""
        await self.deliver()
        (request,) = self.receiver.requests
        self.assertEqual((request.method, request.path), ("POST", "/hook?key=1"))
        self.assertEqual(request.body, BODY_SENT)
        self.assertLessEqual(
            {
                "content-type": "application/json",
                "content-length": str(len(BODY_SENT)),
                "user-agent": f"xzgw/{__version__}",
                "x-xzgw-event": "call",
                "x-xzgw-delivery": "run-7",
            }.items(),
            request.headers.items(),
        )
        self.assertNotIn("x-xzgw-signature", request.headers)

    async def test_signed(self) -> None:
        """With a secret, of any characters, the body is signed with it."""
        await self.deliver(secret="hush")
        await self.deliver(secret="安静")
        first, second = self.receiver.requests
        self.assertTrue(first.signed_with("hush"))
        self.assertTrue(second.signed_with("安静"))
        self.assertFalse(second.signed_with("hush"))

    async def test_quiet(self) -> None:
        """A delivery leaves no line in the log."""
        with capturedLogs() as log:
            await self.deliver()
            await self.receiver.until(lambda: len(self.receiver.requests) == 1)
        lines = [formatEvent(event) for event in log]
        self.assertEqual([line for line in lines if "factory" in line.lower()], [])

    async def test_ipv6(self) -> None:
        """An IPv6 address in brackets."""
        site = Site(self.receiver, timeout=None)
        site.noisy = False
        port = self.reactor.listenTCP(0, site, interface="::1")
        self.addCleanup(port.stopListening)
        await self.deliver(f"http://[::1]:{port.getHost().port}/")
        self.assertEqual(len(self.receiver.requests), 1)

    async def test_nothing_kept(self) -> None:
        """Neither a connection nor a cookie is kept from one delivery to the next."""
        ports = []

        def answer(request: Request) -> bytes:
            ports.append(request.getClientAddress().port)
            request.addCookie("a", "b")
            return b""

        self.receiver.usual = answer
        await self.deliver()
        await self.deliver()
        self.assertEqual(len(set(ports)), 2)
        self.assertNotIn("cookie", self.receiver.requests[1].headers)


class AnswerTests(DeliverTestCase):
    """What counts as delivered."""

    async def test_success(self) -> None:
        """Any status from 200 to 299, with any body."""
        for code, body in ((200, b""), (202, b"x" * 100), (204, b""), (299, b"no JSON")):
            self.receiver.usual = status(code, body)
            await self.deliver()

    async def test_other_status(self) -> None:
        """Every other status is none."""
        for code in (304, 400, 401, 404, 410, 429, 500, 503):
            self.receiver.usual = status(code, b"why")
            self.assertEqual(await self.refused(self.deliver()), f"answered with status {code}")

    async def test_redirect(self) -> None:
        """Redirects are not followed."""
        self.receiver.usual = status(307, location=self.url)
        self.assertEqual(await self.refused(self.deliver()), "answered with status 307")
        self.assertEqual(len(self.receiver.requests), 1)

    async def test_hangs(self) -> None:
        """An answer that does not come in time is none, and the connection is closed."""
        self.receiver.usual = hang
        delivering = self.deliver()
        await self.requested()
        self.clock.advance(PATIENCE - 0.1)
        self.assertFalse(delivering.called)
        self.clock.advance(0.1)
        self.assertEqual(await self.refused(delivering), "no answer in 10 s")
        await self.left()

    async def test_hangs_up(self) -> None:
        """A connection that is closed without an answer is none."""
        self.receiver.usual = hang_up
        self.assertIn("connection", (await self.refused(self.deliver())).lower())

    async def test_nobody_there(self) -> None:
        """Nobody listens there."""
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        reason = await self.refused(self.deliver(f"http://127.0.0.1:{number}/"))
        self.assertIn("refused", reason)

    async def test_no_such_host(self) -> None:
        """A name that nobody has, be it of the internet's kind or of the containers'."""
        for host in ("xzgw.invalid", "xz_gw.invalid"):
            self.assertIn("DNS lookup failed", await self.refused(self.deliver(f"http://{host}/")))

    async def test_not_http(self) -> None:
        """What answers is no web server, and speaks no TLS either."""
        factory = Factory.forProtocol(Greeter)
        factory.noisy = False
        port = self.listen(factory)
        for scheme in ("http", "https"):
            reason = await self.refused(self.deliver(f"{scheme}://127.0.0.1:{port}/"))
            self.assertNotIn(reason, ("", "[]"))

    async def test_cannot_be_sent(self) -> None:
        """A client that raises an error at once is a try like any other."""

        def post(*arguments: object, **more: object) -> Deferred[Any]:
            raise ZeroDivisionError

        self.post = post
        self.assertEqual(await self.refused(self.deliver()), "ZeroDivisionError")
        self.post = lambda *_, **__: fail(ResponseNeverReceived([Failure(ValueError("inner"))]))
        self.assertEqual(await self.refused(self.deliver()), "inner")


class EndlessTests(DeliverTestCase):
    """Answers that are never whole, or too much of one."""

    def greet(self, *words: bytes) -> str:
        """A receiver that says this, piece by piece; its address."""

        class Talker(Protocol):
            transport: Any
            reactor = self.reactor

            def connectionMade(self) -> None:
                for number, piece in enumerate(words):
                    self.reactor.callLater(number * MOMENT, self.transport.write, piece)

        factory = Factory.forProtocol(Talker)
        factory.noisy = False
        return f"http://127.0.0.1:{self.listen(factory)}/"

    async def test_head(self) -> None:
        """A head that has no end is read up to a bound, and no longer."""
        url = self.greet(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * ANSWER)
        self.assertEqual(await self.refused(self.deliver(url)), NO_ANSWER)

    async def test_interim(self) -> None:
        """Nobody asked for answers before the answer; Twisted would have a line for each."""
        url = self.greet(b"HTTP/1.1", b" 100 Continue\r\n\r\n")
        with capturedLogs() as log:
            self.assertEqual(await self.refused(self.deliver(url)), NO_ANSWER)
        self.assertEqual([formatEvent(event) for event in log], [])

    async def test_reason(self) -> None:
        """What the receiver says makes a short line, however much it is."""
        reason = await self.refused(self.deliver(self.greet(b"\x1b[2J\0" * 1000, b"\r\n")))
        self.assertLessEqual(len(reason), 200)
        self.assertTrue(reason.isprintable())


class BodyTests(DeliverTestCase):
    """The body of the answer, which nobody reads."""

    def answer(self, *chunks: bytes) -> Answer:
        """Status 200 and the beginning of a body that does not end."""

        def begin(request: Request) -> int:
            for chunk in chunks:
                request.write(chunk)
            return NOT_DONE_YET

        return begin

    async def test_too_long(self) -> None:
        """Of a long body no more than a part is taken, and the event is delivered."""
        self.receiver.usual = self.answer(b"x" * (BODY + 1))
        await self.deliver()
        await self.left()

    async def test_whole(self) -> None:
        """A body that is not too long is taken to its end."""
        self.receiver.usual = status(200, b"x" * BODY)
        await self.deliver()
        self.assertEqual(self.receiver.left, 0)

    async def test_stops(self) -> None:
        """A body that stops coming is waited for a moment only, and the event is delivered."""
        self.receiver.usual = self.answer(b"x")
        delivering = self.deliver()
        await self._body_begun()
        self.assertFalse(delivering.called)
        self.clock.advance(BODY_PATIENCE)
        await delivering
        await self.left()

    async def test_breaks_off(self) -> None:
        """A body that breaks off does not matter."""

        def answer(request: Request) -> int:
            request.setHeader("Content-Length", "1000")
            request.write(b"x")
            transport: Any = request.transport
            transport.loseConnection()
            return NOT_DONE_YET

        self.receiver.usual = answer
        await self.deliver()

    async def _body_begun(self) -> None:
        """Until the time-out of the head has made place for that of the body."""

        def waits_for_body() -> bool:
            return [c.getTime() for c in self.clock.getDelayedCalls()] == [BODY_PATIENCE]

        while not waits_for_body():
            await deferLater(self.reactor, 0)


class CancelTests(DeliverTestCase):
    """Giving up."""

    async def cancelled(self, delivering: Deferred[None]) -> None:
        delivering.cancel()
        try:
            await delivering
        except CancelledError:
            return
        raise AssertionError("not cancelled")

    async def test_waiting(self) -> None:
        """While the answer is waited for: it ends at once, and the connection is closed."""
        self.receiver.usual = hang
        delivering = self.deliver()
        await self.requested()
        await self.cancelled(delivering)
        await self.left()

    async def test_connecting(self) -> None:
        """While connecting."""
        await self.cancelled(self.deliver())


class Greeter(Protocol):
    """Speaks first, and no HTTP."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"220 ready\r\n" * 3)
        self.transport.loseConnection()
