"""`GET /v1/events`, without sockets and with."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.fakes import warnings
from xzgw.admin.event_stream import (
    HEARTBEAT,
    MOST_READERS,
    MOST_WAITING,
    EventStream,
    TooManyReaders,
    UnknownKinds,
)
from xzgw.core.events import HISTORY, Events

Block = dict[str, str]  # one event's fields

NOW = 1757567894.9  # unix seconds


class EventsResource(Resource):
    """Serves the stream as an application does."""

    isLeaf = True

    def __init__(self, stream: EventStream) -> None:
        super().__init__()
        self.served: list[Deferred[None]] = []
        self.refused: list[Exception] = []
        self._stream = stream

    def render(self, request: Request) -> int | bytes:
        lost: list[object] = []
        request.notifyFinish().addErrback(lost.append)
        try:
            served = self._stream.serve(request)
        except (TooManyReaders, UnknownKinds) as error:
            self.refused.append(error)
            request.setResponseCode(503)
            return b"refused"
        self.served.append(served)
        served.addCallback(lambda _: None if lost else request.finish())
        return NOT_DONE_YET


def blocks(text: str) -> list[Block]:
    """The events in a stream, as a client reads it; without comments and the unfinished rest."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = (line.partition(":") for line in block.split("\n") if not line.startswith(":"))
        found.append({name: value.removeprefix(" ") for name, _, value in fields})
    return found


class Transport(StringTransport):
    """TCP as the gateway has it.

    Attributes:
        full: whether the peer takes nothing, so that each write finds the buffers full.
    """

    full = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()


class Connection:
    """One reader's TCP connection, in memory."""

    def __init__(self, site: Site) -> None:
        self.transport = Transport()
        self._unread = ""
        self._channel: Any = site.buildProtocol(None)
        self._channel.makeConnection(self.transport)

    def ask(self, query: str = "", *headers: str, method: str = "GET") -> Connection:
        """Send a request. It is HTTP/1.0, so that the body comes as it is."""
        head = "\r\n".join((f"{method} /v1/events{query} HTTP/1.0", *headers, "", ""))
        self._channel.dataReceived(head.encode())
        return self

    def head(self) -> str:
        """The answer's head, which is there since the last time."""
        head: str
        head, _, self._unread = self.text().partition("\r\n\r\n")
        return head

    def text(self) -> str:
        """What has arrived since the last time."""
        text: str = self._unread + self.transport.value().decode()
        self.transport.clear()
        self._unread = ""
        return text

    def take(self) -> list[Block]:
        """The events that have arrived since the last time."""
        return blocks(self.text().rpartition("\r\n\r\n")[2])

    def numbers(self) -> list[int]:
        """The numbers of the events with data that have arrived since the last time."""
        return [int(b["id"].rpartition("-")[2]) for b in self.take() if "data" in b]

    def stall(self) -> None:
        """The reader takes nothing more; what is sent now fills the buffers."""
        self.transport.full = True
        self._producer().pauseProducing()

    def go_on(self) -> None:
        self.transport.full = False
        self._producer().resumeProducing()

    def _producer(self) -> Any:
        return self.transport.producer

    def lose(self) -> None:
        self._channel.connectionLost(Failure(ConnectionLost()))

    @property
    def aborted(self) -> bool:
        return bool(self.transport.disconnected)


class StreamTestCase(SynchronousTestCase):
    """A stream and its readers. Each test ends without timers, subscribers and readers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events = Events(lambda: NOW, "run")
        self.stream = EventStream(self.events, self.clock)
        self.resource = EventsResource(self.stream)
        self.site = Site(self.resource, timeout=None, reactor=self.clock)
        self.site.displayTracebacks = False

    def tearDown(self) -> None:
        self.stream.close()
        self.assertEqual(self.stream.readers, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def reader(self, query: str = "", *headers: str) -> Connection:
        return Connection(self.site).ask(query, *headers)

    def publish(self, count: int = 1, size: int = 0) -> None:
        for _ in range(count):
            self.events.publish("connect", client_id="x" * size)


class ServeTests(StreamTestCase):
    """What is sent."""

    def test_head(self) -> None:
        """The answer begins at once, as an event stream that nobody may store or hold back."""
        reader = self.reader()
        head = reader.head()
        for line in (
            "200 OK",
            "Content-Type: text/event-stream",
            "Cache-Control: no-store",
            "X-Accel-Buffering: no",
        ):
            self.assertIn(line, head)
        self.assertEqual(reader.text(), ": still here\nid: run-0\n\n")

    def test_event(self) -> None:
        """An event has an id, its kind, and JSON on one line."""
        reader = self.reader()
        reader.take()
        self.events.publish("refused", client_id="a\nb\u2028c", reason="错")
        (block,) = reader.take()
        self.assertEqual((block["id"], block["event"]), ("run-1", "refused"))
        self.assertEqual(
            json.loads(block["data"]),
            {
                "id": "run-1",
                "time": "2025-09-11T05:18:14.900Z",
                "kind": "refused",
                "client_id": "a\nb\u2028c",
                "reason": "错",
            },
        )

    def test_head_only(self) -> None:
        """HEAD has the same head, no body, and an end."""
        connection = Connection(self.site).ask(method="HEAD")
        self.assertIn("Content-Type: text/event-stream", connection.head())
        self.assertEqual(connection.text(), "")
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.stream.readers, 0)

    def test_no_history_unasked(self) -> None:
        """Who does not ask for the past gets what happens from now on."""
        self.publish(3)
        reader = self.reader()
        self.publish()
        self.assertEqual(reader.numbers(), [4])

    def test_position(self) -> None:
        """A reader knows from the start where it is: the first thing it gets is an id."""
        self.publish(3)
        self.assertEqual(self.reader().take(), [{"id": "run-3"}])

    def test_kinds(self) -> None:
        """Only the kinds asked for are sent, in whatever way they are listed; empty means all."""
        for query, expected in (
            ("?kinds=call,backend_up", ["backend_up", "call"]),
            ("?kinds=call&kinds=+backend_up,", ["backend_up", "call"]),
            ("?kinds=", ["connect", "backend_up", "call"]),
        ):
            reader = self.reader(query)
            for kind in ("connect", "backend_up", "call"):
                self.events.publish(kind)
            self.assertEqual([b["event"] for b in reader.take() if "event" in b], expected)

    def test_unknown_kinds(self) -> None:
        """A kind that does not exist is refused, and named."""
        self.reader("?kinds=connect,conect,%FF")
        (error,) = self.resource.refused
        self.assertIsInstance(error, UnknownKinds)
        self.assertEqual(str(error), "no such kinds of events: conect, \ufffd")

    def test_heartbeat(self) -> None:
        """Silence is broken by the position, which moves on with events not asked for."""
        reader = self.reader("?kinds=call")
        reader.take()
        self.publish(2)
        self.clock.advance(HEARTBEAT - 0.1)
        self.assertEqual(reader.take(), [])
        self.clock.advance(0.1)
        self.assertEqual(reader.text(), ": still here\nid: run-2\n\n")


class ResumeTests(StreamTestCase):
    """Readers that come back."""

    def test_header(self) -> None:
        """What was missed comes first, then where that ends, then what happens."""
        self.publish(3)
        reader = self.reader("", "Last-Event-ID: run-1")
        self.publish()
        ids = [block["id"] for block in reader.take()]
        self.assertEqual(ids, ["run-2", "run-3", "run-3", "run-4"])

    def test_query(self) -> None:
        """The query can say it, too; the header wins."""
        self.publish(3)
        self.assertEqual(self.reader("?last_event_id=run-2").numbers(), [3])
        reader = self.reader("?last_event_id=run-2", "Last-Event-ID: run-1")
        self.assertEqual(reader.numbers(), [2, 3])

    def test_kinds(self) -> None:
        """What was missed is filtered as well."""
        self.publish(2)
        self.events.publish("call")
        reader = self.reader("?kinds=call", "Last-Event-ID: run-0")
        self.assertEqual(reader.numbers(), [3])

    def test_gap(self) -> None:
        """An id of another run: a gap is told, whatever the filter, then all that is known."""
        self.publish(2)
        reader = self.reader("?kinds=connect", "Last-Event-ID: old-7")
        gap, *rest = reader.take()
        self.assertEqual((gap["event"], gap["id"]), ("gap", "run-0"))
        expected = {"id": "run-0", "time": "2025-09-11T05:18:14.900Z", "kind": "gap"}
        self.assertEqual(json.loads(gap["data"]), expected)
        self.assertEqual([block["id"] for block in rest], ["run-1", "run-2", "run-2"])

    def test_long_history(self) -> None:
        """A history of more bytes than may wait is no reason to drop a reader that takes it."""
        size = 2 * MOST_WAITING // HISTORY
        self.publish(HISTORY, size)
        connection = Connection(self.site)
        connection.transport.full = True
        connection.ask("", "Last-Event-ID: run-0")
        self.publish(3)
        first = connection.numbers()
        self.assertLess(len(first), 3)
        connection.go_on()
        self.assertEqual(first + connection.numbers(), list(range(1, HISTORY + 4)))


class SlowTests(StreamTestCase):
    """Readers that do not keep up."""

    def test_waiting(self) -> None:
        """What is not taken waits, in order, and comes when the reader goes on."""
        reader = self.reader()
        reader.take()
        reader.stall()
        self.publish(10)
        self.assertEqual(reader.take(), [])
        reader.go_on()
        self.assertEqual(reader.numbers(), list(range(1, 11)))
        self.publish()
        self.assertEqual(reader.numbers(), [11])

    def test_too_much_waiting(self) -> None:
        """Past the limit a reader is cut off, once, with one line in the log; others are not."""
        slow, other = self.reader(), self.reader()
        for reader in (slow, other):
            reader.take()
        slow.stall()
        with capturedLogs() as log:
            while not slow.aborted:
                self.assertEqual(self.stream.readers, 2)
                self.publish(1, 1000)
            text = other.text()
            self.publish(500, 1000)
            self.clock.advance(HEARTBEAT)
            slow.go_on()
        last = len(text) - text[:-2].rindex("\n\n") - 2
        self.assertGreater(len(text), MOST_WAITING)
        self.assertLessEqual(len(text) - last, MOST_WAITING)
        self.assertEqual(len(other.numbers()), 500)
        self.assertEqual(slow.take(), [])
        (line,) = warnings(log)
        self.assertIn("dropping a reader of events", line)
        self.assertIn(f"{len(text)} bytes are waiting for it", line)
        slow.lose()
        self.successResultOf(self.resource.served[0])

    def test_just_not_too_much(self) -> None:
        """Filling and emptying again and again adds up to nothing."""
        reader = self.reader()
        for _ in range(5):
            reader.stall()
            self.publish(200, 1000)
            reader.go_on()
        self.assertEqual(len(reader.numbers()), 1000)

    def test_stuck(self) -> None:
        """A reader that takes nothing from one heartbeat to the next is cut off."""
        reader = self.reader()
        reader.stall()
        self.clock.advance(HEARTBEAT)
        reader.go_on()
        reader.stall()
        self.clock.advance(HEARTBEAT)
        self.assertFalse(reader.aborted)
        with capturedLogs() as log:
            self.clock.advance(HEARTBEAT)
        self.assertTrue(reader.aborted)
        (line,) = warnings(log)
        self.assertIn("it has taken nothing for 15 s", line)


class EndTests(StreamTestCase):
    """Readers that go, and places that become free."""

    def test_gone(self) -> None:
        """When a reader's connection is lost, it is over with it, and nobody else is touched."""
        first, second = self.reader(), self.reader()
        first.lose()
        self.assertEqual(self.stream.readers, 1)
        self.assertEqual([s.called for s in self.resource.served], [True, False])
        self.publish()
        self.assertEqual(second.numbers(), [1])
        second.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone_while_stalled(self) -> None:
        """The same for one that is behind."""
        reader = self.reader()
        reader.stall()
        self.publish(5)
        reader.lose()
        self.successResultOf(self.resource.served[0])
        self.assertEqual(self.stream.readers, 0)

    def test_subscription(self) -> None:
        """Without readers nothing is subscribed to, and the next reader subscribes anew."""
        events = CountingEvents()
        stream = EventStream(events, self.clock)
        site = Site(EventsResource(stream), timeout=None, reactor=self.clock)
        self.assertEqual(events.subscribed, 0)
        for _ in range(2):
            readers = [Connection(site).ask() for _ in range(3)]
            self.assertEqual(events.subscribed, 1)
            for reader in readers:
                reader.lose()
            self.assertEqual(events.subscribed, 0)

    def test_close(self) -> None:
        """Closing ends the streams in order, but does not wait for one that is behind."""
        reader, slow = self.reader(), self.reader()
        slow.stall()
        self.stream.close()
        self.assertTrue(reader.transport.disconnecting and not reader.aborted)
        self.assertTrue(slow.aborted)
        self.successResultOf(self.resource.served[0])
        self.assertNoResult(self.resource.served[1])
        slow.lose()
        self.successResultOf(self.resource.served[1])

    def test_cancel(self) -> None:
        """Who was given the stream can end it."""
        reader = self.reader()
        (served,) = self.resource.served
        served.cancel()
        self.successResultOf(served)
        self.assertEqual(self.stream.readers, 0)
        self.assertTrue(reader.transport.disconnecting)

    def test_cancel_stalled(self) -> None:
        """Even while the reader is behind; its connection's end is then no news."""
        reader = self.reader()
        reader.stall()
        (served,) = self.resource.served
        errors: list[Failure] = []
        served.addErrback(errors.append)
        served.cancel()
        self.assertTrue(reader.aborted)
        reader.lose()
        self.assertEqual((len(errors), self.stream.readers), (1, 0))

    def test_cancel_dropped(self) -> None:
        """One that was dropped can still be cancelled, which changes nothing."""
        reader = self.reader()
        reader.stall()
        self.clock.advance(HEARTBEAT)
        self.clock.advance(HEARTBEAT)
        (served,) = self.resource.served
        self.assertTrue(reader.aborted)
        served.cancel()
        self.failureResultOf(served, CancelledError)
        self.assertEqual(self.stream.readers, 0)

    def test_too_many(self) -> None:
        """No more than so many at a time; the next is refused until one goes."""
        readers = [self.reader() for _ in range(MOST_READERS)]
        self.assertEqual(self.resource.refused, [])
        self.reader()
        (error,) = self.resource.refused
        assert isinstance(error, TooManyReaders)
        self.assertEqual((error.retry_after, str(error)), (30, "there are 100 readers already"))
        readers[7].lose()
        self.reader()
        self.assertEqual(len(self.resource.refused), 1)
        self.assertEqual(self.stream.readers, MOST_READERS)


class CountingEvents(Events):
    """Knows how many subscribers it has."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW, "run")
        self.subscribed = 0

    def subscribe(self, subscriber: Callable[[Any], None]) -> Callable[[], None]:
        unsubscribe = super().subscribe(subscriber)
        self.subscribed += 1

        def leave() -> None:
            unsubscribe()
            self.subscribed -= 1

        return leave


class SocketReader(Protocol):
    """A reader over TCP that keeps up; HTTP/1.0, see Connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"GET /v1/events HTTP/1.0\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class SocketTests(TestCase):
    """Readers on the network."""

    reactor: Any = reactor

    timeout = 30

    def setUp(self) -> None:
        self.events = Events(lambda: NOW, "run")
        self.stream = EventStream(self.events, self.reactor)
        site = Site(EventsResource(self.stream), timeout=None)
        site.noisy = False
        self.port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        self.address = ("127.0.0.1", self.port.getHost().port)
        self.addCleanup(self.port.stopListening)

    def stalled_socket(self) -> socket.socket:
        """A connection that asks and then reads nothing."""
        peer = socket.socket()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(self.address)
        peer.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
        return peer

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor work until it is so; the test's time limit is the limit."""
        while not condition():
            await deferLater(self.reactor, 0)

    async def test_stalled(self) -> None:
        """A reader that stalls is dropped and forgotten; one that reads gets every event."""
        self.stalled_socket()
        good = SocketReader()
        await connectProtocol(TCP4ClientEndpoint(self.reactor, *self.address), good)
        await self.until(lambda: self.stream.readers == 2)
        published = 0
        while self.stream.readers == 2:
            self.events.publish("connect", client_id="x" * 10_000)
            published += 1
            await deferLater(self.reactor, 0)
        last = f"id: run-{published}\n"
        await self.until(lambda: good.received.endswith(b"\n\n") and last.encode() in good.received)
        found = blocks(good.received.decode().partition("\r\n\r\n")[2])
        numbers = [int(block["id"][4:]) for block in found if "data" in block]
        self.assertEqual(numbers, list(range(1, published + 1)))
        assert good.transport is not None
        good.transport.loseConnection()
        await good.ended
        await self.until(lambda: self.stream.readers == 0)

    async def test_reset(self) -> None:
        """A reader that vanishes while being written to is forgotten."""
        peer = self.stalled_socket()
        await self.until(lambda: self.stream.readers == 1)
        peer.close()
        while self.stream.readers:
            self.events.publish("call")
            await deferLater(self.reactor, 0)
        self.assertEqual(self.stream.readers, 0)
