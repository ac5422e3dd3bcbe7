"""Webhooks: queues, pauses and outages in memory, and failing receivers on the network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseFailed
from twisted.web.server import Site

from tests.admin.receiver import Receiver, hang, hang_up, status
from tests.fakes import warnings
from xzgw.admin.webhook_post import PATIENCE, poster
from xzgw.admin.webhooks import PAUSES, QUEUE, HookState, Webhooks
from xzgw.core.events import Event, Events
from xzgw.settings.sections import WebhookConfig

NOW = 1757567894.9  # unix seconds
URL = "http://a.example/secret-path?token=hush"
FAILING = status(500)


class Bench:
    """Events, and webhooks whose every request ends at one receiver, in memory.

    Attributes:
        posted: the URL of each request.
    """

    def __init__(self, hooks: Iterable[WebhookConfig]) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.events = Events(lambda: NOW, "run")
        self.posted: list[str] = []
        self._treq: Any = StubTreq(self.receiver)
        self.webhooks = Webhooks(self.events, self.clock, self.post, hooks)

    def post(self, url: str, **arguments: Any) -> Deferred[Any]:
        self.posted.append(url)
        answer: Deferred[Any] = self._treq.post(url, **arguments)
        self._treq.flush()
        return answer

    def publish(self, count: int = 1, kind: str = "connect") -> None:
        for _ in range(count):
            self.events.publish(kind, client_id="c")

    @property
    def state(self) -> HookState:
        """Of the only hook."""
        (state,) = self.webhooks.states()
        return state

    def exhaust(self) -> None:
        """Let all the pauses between tries pass."""
        for pause in PAUSES:
            self.clock.advance(pause)


class WebhooksTestCase(SynchronousTestCase):
    """Each test ends with the webhooks stopped and nothing left of them."""

    def bench(self, *hooks: WebhookConfig) -> Bench:
        bench = Bench(hooks or [WebhookConfig(URL)])
        bench.webhooks.startService()
        self.addCleanup(self.check_stopped, bench)
        return bench

    def check_stopped(self, bench: Bench) -> None:
        if bench.webhooks.running:
            bench.webhooks.stopService()
        count = len(bench.posted)
        bench.publish()
        bench.clock.advance(100)
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        self.assertEqual(len(bench.posted), count)


class DeliveryTests(WebhooksTestCase):
    """What is delivered to whom."""

    def test_event(self) -> None:
        """An event is delivered as readers of the stream get it, signed with the hook's secret."""
        bench = self.bench(WebhookConfig(URL, "hush"))
        bench.events.publish("call", name="小智")
        (request,) = bench.receiver.requests
        expected = bench.events.describe(Event(1, NOW, "call", {"name": "小智"}))
        self.assertEqual(request.event, expected)
        self.assertEqual(request.headers["x-xzgw-event"], "call")
        self.assertEqual(request.headers["x-xzgw-delivery"], "run-1")
        self.assertTrue(request.signed_with("hush"))
        self.assertEqual(bench.posted, [URL])
        self.assertEqual(bench.state, HookState("http://a.example", 0, 1, 0, None))

    def test_kinds(self) -> None:
        """A hook gets the kinds that it asks for, or all."""
        all_kinds, calls, both = (
            WebhookConfig(f"http://h{n}/", None, kinds)
            for n, kinds in enumerate(
                (frozenset[str](), frozenset({"call"}), frozenset({"call", "refused"}))
            )
        )
        bench = self.bench(all_kinds, calls, both)
        for kind, expected in (
            ("connect", [all_kinds]),
            ("call", [all_kinds, calls, both]),
            ("refused", [all_kinds, both]),
        ):
            bench.posted.clear()
            bench.publish(kind=kind)
            self.assertEqual(bench.posted, [hook.url for hook in expected])

    def test_not_running(self) -> None:
        """Before the start and after the stop nothing is delivered; a new start delivers anew."""
        bench = Bench([WebhookConfig(URL)])
        bench.publish()
        bench.webhooks.startService()
        bench.publish()
        bench.webhooks.stopService()
        bench.publish()
        bench.webhooks.startService()
        bench.publish()
        self.check_stopped(bench)
        self.assertEqual(bench.receiver.numbers, [2, 4])

    def test_never_started(self) -> None:
        """Stopping what was not started is no mistake."""
        bench = Bench([WebhookConfig(URL)])
        bench.webhooks.stopService()
        self.assertFalse(bench.webhooks.running)

    def test_one_at_a_time(self) -> None:
        """The next event waits for the answer to the one before."""
        bench = self.bench()
        bench.receiver.answers.append(hang)
        bench.publish(3)
        self.assertEqual(bench.receiver.numbers, [1])
        self.assertEqual(bench.state.waiting, 2)
        bench.clock.advance(PATIENCE)
        bench.clock.advance(PAUSES[0])
        self.assertEqual(bench.receiver.numbers, [1, 1, 2, 3])
        self.assertEqual(bench.state, HookState("http://a.example", 0, 3, 0, None))

    def test_long_queue(self) -> None:
        """A long queue is delivered in one go, and not by recursion."""
        bench = self.bench()
        bench.receiver.answers.append(FAILING)
        bench.publish(QUEUE)
        bench.clock.advance(PAUSES[0])
        self.assertEqual(bench.receiver.numbers[1:], list(range(1, QUEUE + 1)))

    def test_independent(self) -> None:
        """A hook whose receiver hangs or fails delays no other."""
        bench = self.bench(WebhookConfig("http://a/"), WebhookConfig("http://b/"))
        bench.receiver.answers += [hang, status(200), status(200)]
        bench.publish(2)
        self.assertEqual(bench.posted, ["http://a/", "http://b/", "http://b/"])
        self.assertEqual([state.delivered for state in bench.webhooks.states()], [0, 2])


class RetryTests(WebhooksTestCase):
    """Receivers that fail."""

    def test_pauses(self) -> None:
        """The pauses double from 1 s up to 60 s; after eight tries the event is dropped."""
        bench = self.bench()
        bench.receiver.usual = FAILING
        bench.publish()
        for tries, pause in enumerate((1, 2, 4, 8, 16, 32, 60), start=1):
            bench.clock.advance(pause - 0.01)
            self.assertEqual(len(bench.posted), tries)
            bench.clock.advance(0.01)
            self.assertEqual(len(bench.posted), tries + 1)
        self.assertEqual(bench.receiver.numbers, [1] * 8)
        failing = "answered with status 500"
        self.assertEqual(bench.state, HookState("http://a.example", 0, 0, 1, failing))
        self.assertEqual(bench.clock.getDelayedCalls(), [])

    def test_next_event(self) -> None:
        """After an event is dropped, the next one has all its tries, in its turn."""
        bench = self.bench()
        bench.receiver.answers += [FAILING] * (len(PAUSES) + 3)
        bench.publish(2)
        bench.exhaust()
        bench.exhaust()
        self.assertEqual(bench.receiver.numbers, [1] * 8 + [2] * 3)
        self.assertEqual((bench.state.delivered, bench.state.dropped), (1, 1))

    def test_again(self) -> None:
        """A try that succeeds in the end delivers the very same request."""
        bench = self.bench(WebhookConfig(URL, "hush"))
        bench.receiver.answers += [FAILING, hang]
        bench.publish()
        bench.clock.advance(PAUSES[0])
        bench.clock.advance(PATIENCE)
        self.assertEqual(bench.state.failing, "no answer in 10 s")
        bench.clock.advance(PAUSES[1])
        self.assertEqual(len(bench.receiver.requests), 3)
        self.assertEqual(len({request.body for request in bench.receiver.requests}), 1)
        self.assertEqual(bench.receiver.numbers, [1, 1, 1])
        self.assertEqual(bench.state, HookState("http://a.example", 0, 1, 0, None))

    def test_full_queue(self) -> None:
        """When the queue is full, the oldest event in it makes place for the newest."""
        bench = self.bench()
        bench.receiver.answers.append(hang)
        bench.publish(1 + QUEUE + 5)
        self.assertEqual((bench.state.waiting, bench.state.dropped), (QUEUE, 5))
        bench.clock.advance(PATIENCE)
        bench.clock.advance(PAUSES[0])
        expected = [1, 1, *range(7, QUEUE + 7)]
        self.assertEqual(bench.receiver.numbers, expected)

    def test_fault(self) -> None:
        """A fault of ours is logged, and the next event is delivered."""
        bench = self.bench()

        def broken(url: str, **arguments: object) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            answer.callback(None)  # what no HTTP client answers
            return answer

        bench.webhooks.configure([])
        faulty = Webhooks(bench.events, bench.clock, broken, [WebhookConfig(URL)])
        faulty.startService()
        bench.publish(2)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)
        faulty.stopService()


class LogTests(WebhooksTestCase):
    """What the operator reads."""

    def lines(self, log: Iterable[dict[str, Any]]) -> list[str]:
        return [formatEvent(e) for e in log if e["log_namespace"].startswith("xzgw.")]

    def test_outage(self) -> None:
        """An outage is one line when it begins, one for the first loss, and one for its end."""
        bench = self.bench()
        bench.receiver.usual = FAILING
        with capturedLogs() as log:
            bench.publish(3)
            bench.exhaust()
            bench.exhaust()
            bench.receiver.usual = status(200)
            bench.exhaust()
            bench.publish()
        name = "webhook at http://a.example"
        self.assertEqual(
            self.lines(log),
            [
                f"{name} fails, trying again: answered with status 500",
                f"{name}: events are being dropped: 8 tries failed",
                f"{name} works again; 2 events were dropped",
            ],
        )
        levels = [event["log_level"] for event in log if event["log_namespace"][:5] == "xzgw."]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.warn, LogLevel.info])

    def test_next_outage(self) -> None:
        """The next outage is logged like the first, and counts its own losses."""
        bench = self.bench()
        logs = []
        for _ in range(2):
            bench.receiver.answers += [FAILING] * (len(PAUSES) + 1)
            with capturedLogs() as log:
                bench.publish()
                bench.exhaust()
                bench.publish()
            logs.append(self.lines(log))
        self.assertEqual(len(logs[0]), 3)
        self.assertEqual(logs[0], logs[1])
        self.assertIn("1 events", logs[1][2])

    def test_not_over(self) -> None:
        """While events are waiting, one success is no end of the outage."""
        bench = self.bench()
        bench.receiver.answers += [FAILING, status(200), FAILING, status(200)]
        with capturedLogs() as log:
            bench.publish(2)
            bench.clock.advance(PAUSES[0])
            self.assertEqual(bench.receiver.numbers, [1, 1, 2])
            self.assertEqual(len(self.lines(log)), 1)
            bench.clock.advance(PAUSES[0])
        self.assertEqual(len(self.lines(log)), 2)

    def test_overload(self) -> None:
        """More events than a working receiver takes are lost with one line, too."""
        bench = self.bench()
        bench.receiver.answers.append(hang)
        with capturedLogs() as log:
            bench.publish(QUEUE + 10)
        (line,) = warnings(log)
        self.assertIn("events are being dropped: more than 1000 are waiting", line)

    def test_nothing_secret(self) -> None:
        """Neither the secret nor the URL's path and query are shown."""
        bench = self.bench(WebhookConfig(URL, "s3cret"))
        bench.receiver.usual = FAILING
        with capturedLogs() as log:
            bench.publish()
            bench.exhaust()
        text = repr(self.lines(log)) + repr(bench.webhooks.states())
        for secret in ("s3cret", "secret-path", "hush"):
            self.assertNotIn(secret, text)


class StopTests(WebhooksTestCase):
    """Giving up what is not delivered."""

    def test_in_pause(self) -> None:
        """In the pause before the next try."""
        bench = self.bench()
        bench.receiver.usual = FAILING
        bench.publish(3)
        bench.webhooks.stopService()
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        self.assertEqual(bench.state.waiting, 0)

    def test_in_request(self) -> None:
        """While an answer is waited for."""
        bench = self.bench()
        bench.receiver.usual = hang
        bench.publish(3)
        bench.webhooks.stopService()
        self.assertEqual(bench.clock.getDelayedCalls(), [])
        self.assertEqual(bench.receiver.numbers, [1])

    def test_wrapped_cancellation(self) -> None:
        """While an answer is waited for, of a client that wraps the cancellation."""
        bench = self.bench()
        answers: list[Deferred[Any]] = []

        def post(url: str, **arguments: object) -> Deferred[Any]:
            answers.append(Deferred(lambda answer: answer.errback(ResponseFailed([]))))
            return answers[-1]

        hooks = Webhooks(bench.events, bench.clock, post, [WebhookConfig(URL)])
        hooks.startService()
        bench.publish()
        hooks.stopService()
        self.assertTrue(answers[0].called)
        self.assertEqual(bench.clock.getDelayedCalls(), [])


class ConfigureTests(WebhooksTestCase):
    """A new list of hooks."""

    def test_stays(self) -> None:
        """A hook with the same URL keeps its queue, and goes on with its new settings."""
        bench = self.bench(WebhookConfig(URL, "old"))
        bench.receiver.answers.append(FAILING)
        bench.publish(2)
        bench.webhooks.configure([WebhookConfig(URL, "new", frozenset({"call"}))])
        self.assertEqual(bench.state.waiting, 1)
        bench.publish()
        bench.publish(kind="call")
        bench.clock.advance(PAUSES[0])
        self.assertEqual(bench.receiver.numbers, [1, 1, 2, 4])
        self.assertTrue(bench.receiver.requests[0].signed_with("old"))
        self.assertTrue(all(r.signed_with("new") for r in bench.receiver.requests[1:]))
        self.assertEqual(bench.state.delivered, 3)

    def test_goes(self) -> None:
        """A hook that is no longer there is given up at once."""
        bench = self.bench(WebhookConfig("http://a/"), WebhookConfig("http://b/"))
        bench.receiver.usual = FAILING
        bench.publish(2)
        bench.webhooks.configure([WebhookConfig("http://b/")])
        bench.posted.clear()
        bench.clock.advance(PAUSES[0])
        self.assertEqual(bench.posted, ["http://b/"])
        self.assertEqual([state.receiver for state in bench.webhooks.states()], ["http://b"])

    def test_comes(self) -> None:
        """A new hook gets what happens from then on."""
        bench = self.bench(WebhookConfig("http://a/"))
        bench.publish()
        bench.webhooks.configure([WebhookConfig("http://b/"), WebhookConfig("http://a/")])
        bench.publish()
        self.assertEqual(bench.posted, ["http://a/", "http://b/", "http://a/"])


class NetworkTests(TestCase):
    """Real connections to a real server."""

    timeout = 20
    reactor: Any = reactor

    async def test_failing_receiver(self) -> None:
        """Whatever a receiver does, the events arrive in order in the end, and only its own."""
        receiver, clock = Receiver(), Clock()
        receiver.answers += [status(500), hang_up, status(307, location="/x"), hang]
        site = Site(receiver, timeout=None)
        site.noisy = False
        port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        events = Events(lambda: NOW, "run")
        hook = WebhookConfig(f"http://127.0.0.1:{port.getHost().port}/", "hush")
        webhooks = Webhooks(events, clock, poster(self.reactor), [hook])
        webhooks.startService()
        for _ in range(3):
            events.publish("connect")
        for tries, pause in ((1, 1.0), (2, 2.0), (3, 4.0), (4, PATIENCE)):
            await self.until_tried(receiver, clock, tries, pause)
        await self.until_tried(receiver, clock, 4, 8.0)
        await receiver.until(lambda: len(receiver.requests) == 7)
        self.assertEqual(receiver.numbers, [1, 1, 1, 1, 1, 2, 3])
        self.assertTrue(all(request.signed_with("hush") for request in receiver.requests))
        await receiver.until(lambda: receiver.left == 2)
        webhooks.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])

    async def until_tried(self, receiver: Receiver, clock: Clock, tries: int, pause: float) -> None:
        """Once so many requests have come and the next thing is this pause, let it pass."""
        while len(receiver.requests) < tries or [
            call.getTime() - clock.seconds() for call in clock.getDelayedCalls()
        ] != [pause]:
            await deferLater(self.reactor, 0)
        clock.advance(pause)
