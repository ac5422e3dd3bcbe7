"""Names and addresses of servers, with lookups that block as a name server's can."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from queue import Queue
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from xzgw.net.resolve import FRESH, NamedEndpoint, Resolver

PATIENCE = 5.0  # s


class ThreadClock(Clock):
    """A clock that keeps what threads want called until the test has it done."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: Queue[Callable[[], None]] = Queue()

    def callFromThread(self, function: Callable[..., None], *arguments: Any) -> None:
        self._calls.put(partial(function, *arguments))

    def finish_lookups(self) -> None:
        """Wait until no lookup is under way any more, and hear what came of them."""
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and thread.daemon:
                thread.join(PATIENCE)
        while not self._calls.empty():
            self._calls.get()()


class Names:
    """A name server that answers when told to, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: list[str] | Exception = ["192.0.2.1"]
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        assert self.may_answer.wait(PATIENCE)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class ResolverTests(SynchronousTestCase):
    """Which addresses, and how often the name server is asked."""

    def setUp(self) -> None:
        self.names = Names()
        self.clock = ThreadClock()
        self.resolver = Resolver(self.clock, self.names)

    def resolve(self, host: str = "a_b") -> list[str]:
        """The answer, once the lookup is over."""
        answer = self.resolver.resolve(host)
        self.clock.finish_lookups()
        return self.successResultOf(answer)

    def test_addresses_are_their_own(self) -> None:
        """IPv4 and IPv6 addresses need no name server."""
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(self.resolve(address), [address])
        self.assertEqual(self.names.asked, [])

    def test_fresh(self) -> None:
        """What was found serves for a while, then the name server is asked again."""
        self.assertEqual([self.resolve(), self.resolve()], [["192.0.2.1"]] * 2)
        self.assertEqual(self.names.asked, ["a_b"])
        self.clock.advance(FRESH)
        self.resolve()
        self.assertEqual(self.names.asked, ["a_b"] * 2)

    def test_one_lookup_for_many(self) -> None:
        """However many wait for a name, there is one lookup; others' names have their own."""
        self.names.may_answer.clear()
        answers = [self.resolver.resolve("slow") for _ in range(100)]
        self.assertEqual(threading.active_count(), 2)
        self.assertEqual(self.successResultOf(self.resolver.resolve("192.0.2.9")), ["192.0.2.9"])
        self.names.may_answer.set()
        self.clock.finish_lookups()
        self.assertEqual([self.successResultOf(a) for a in answers], [["192.0.2.1"]] * 100)
        self.assertEqual(self.names.asked, ["slow"])

    def test_cancel(self) -> None:
        """Who gives up waiting is left alone; the others get their answer."""
        self.names.may_answer.clear()
        given_up, waiting = self.resolver.resolve("slow"), self.resolver.resolve("slow")
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.names.may_answer.set()
        self.clock.finish_lookups()
        self.assertEqual(self.successResultOf(waiting), ["192.0.2.1"])

    def test_cancelled_by_another(self) -> None:
        """One answer may make somebody give up the next."""
        self.names.may_answer.clear()
        first, second = self.resolver.resolve("slow"), self.resolver.resolve("slow")
        first.addCallback(lambda _: second.cancel())
        self.names.may_answer.set()
        self.clock.finish_lookups()
        self.failureResultOf(second, CancelledError)

    def test_failure(self) -> None:
        """A name that is not found fails, and is asked for again next time."""
        for problem in (OSError("no such name"), UnicodeError("label too long")):
            self.names.answer = problem
            answer = self.resolver.resolve("gone")
            self.clock.finish_lookups()
            self.failureResultOf(answer, OSError)
        self.assertEqual(len(self.names.asked), 2)

    def test_old_is_better_than_none(self) -> None:
        """While the name server does not answer, what it said before goes on to serve."""
        self.resolve()
        self.clock.advance(FRESH)
        self.names.may_answer.clear()
        self.assertEqual(self.successResultOf(self.resolver.resolve("a_b")), ["192.0.2.1"])
        self.names.answer = OSError("name server is gone")
        self.names.may_answer.set()
        self.clock.finish_lookups()
        self.assertEqual(self.successResultOf(self.resolver.resolve("a_b")), ["192.0.2.1"])
        self.clock.finish_lookups()

    def test_lookups_do_not_hold_up_the_end(self) -> None:
        """A lookup that never ends keeps no process alive."""
        self.names.may_answer.clear()
        answer = self.resolver.resolve("slow")
        (lookup,) = (t for t in threading.enumerate() if t is not threading.current_thread())
        self.assertTrue(lookup.daemon)
        self.names.may_answer.set()
        self.clock.finish_lookups()
        self.successResultOf(answer)


class NamedEndpointTests(TestCase):
    """Real connections on loopback."""

    def setUp(self) -> None:
        self.names = Names()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]

    def connect(self, host: str) -> Deferred[Any]:
        resolver = Resolver(reactor, self.names)
        endpoint = NamedEndpoint(reactor, resolver, host, self.port)
        return endpoint.connect(Factory.forProtocol(Protocol)).addTimeout(PATIENCE, reactor)

    async def test_name_with_underscore(self) -> None:
        """As containers are often called."""
        self.names.answer = ["127.0.0.1"]
        protocol = await self.connect("xiaozhi_server")
        protocol.transport.abortConnection()

    async def test_next_address(self) -> None:
        """An address that refuses is followed by the next one."""
        self.names.answer = ["::1", "127.0.0.1"]
        protocol = await self.connect("two")
        self.assertEqual(protocol.transport.getPeer().host, "127.0.0.1")
        protocol.transport.abortConnection()

    async def test_all_refuse(self) -> None:
        """The failure is the last address's."""
        self.names.answer = ["127.0.0.1"]
        self.listener.close()
        await self.assertFailure(self.connect("one"), ConnectionRefusedError)

    async def test_no_address(self) -> None:
        """A name without an address is a failure, too."""
        self.names.answer = []
        await self.assertFailure(self.connect("none"), OSError)

    async def test_system(self) -> None:
        """The system's own names work."""
        endpoint = NamedEndpoint(reactor, Resolver(reactor), "localhost", self.port)
        protocol: Any = await endpoint.connect(Factory.forProtocol(Protocol))
        protocol.transport.abortConnection()
