"""A server that says thousands of things at once leaves time for everybody else."""

from __future__ import annotations

from itertools import count
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import URL
from tests.net.support import TcpTransport
from tests.support import frame, upgrade
from xzgw.net import websocket
from xzgw.net.rationed import REST, RationedProtocol
from xzgw.net.websocket import BackendProtocol

TEXT, CLOSE, PING = 1, 8, 9
AT_ONCE = RationedProtocol.portion // 2  # frames: a head and a payload each
MANY = 5 * AT_ONCE
MOST_PONGS = 100  # that may wait


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.ends: list[str] = []

    def opened(self) -> None:
        pass

    def audio(self, message: bytes) -> None:
        raise AssertionError(message)

    def text(self, message: bytes) -> None:
        self.texts.append(bytes(message))

    def closing(self) -> None:
        self.ends.append("closing")

    def lost(self, reason: str) -> None:
        self.ends.append("lost")

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(reason)


class RationTests(SynchronousTestCase):
    """One connection, open."""

    def setUp(self) -> None:
        self.patch(websocket, "MAX_BACKLOG", 6 * MOST_PONGS)
        self.clock = Clock()
        factory = WebSocketClientFactory(URL, reactor=self.clock)
        factory.setProtocolOptions(openHandshakeTimeout=0, serverConnectionDropTimeout=0)
        self.protocol = BackendProtocol(factory, {}, count(1))
        self.owner = self.protocol.owner = Owner()
        self.transport = TcpTransport()
        self.protocol.makeConnection(self.transport)
        self.receive(upgrade(self.transport.value()))
        self.transport.clear()

    def tearDown(self) -> None:
        self.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def paused(self) -> bool:
        """Whether nothing more is read from the server."""
        return self.transport.producerState == "paused"

    def receive(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def test_texts(self) -> None:
        """So many at once, then a rest, in which nothing is read; all come, and in order."""
        texts = [b"%d" % number for number in range(MANY)]
        self.receive(b"".join(frame(TEXT, text) for text in texts))
        for rest in range(1, MANY // AT_ONCE):
            self.assertEqual(self.owner.texts, texts[: AT_ONCE * rest])
            self.assertTrue(self.paused)
            self.clock.advance(REST)
        self.assertEqual(self.owner.texts, texts)
        self.assertFalse(self.paused)

    def test_small(self) -> None:
        """So are frames of no bytes, and those that the gateway answers by itself."""
        for empty in (frame(PING, b""), frame(TEXT, b"")):
            self.receive(empty * MANY)
            rests = 0
            while self.paused:
                rests += 1
                self.clock.advance(REST)
            self.assertGreaterEqual(rests, MANY // RationedProtocol.portion - 1)
        self.assertEqual(self.owner.texts, [b""] * MANY)
        self.assertEqual(len(self.transport.value()), MANY * 6)  # pongs, masked

    def test_few(self) -> None:
        """Who says less at once is never made to wait."""
        for _ in range(10):
            self.receive(frame(TEXT, b"{}") * (AT_ONCE - 1))
            self.assertFalse(self.paused)
        self.assertEqual(len(self.owner.texts), 10 * (AT_ONCE - 1))

    def test_more_meanwhile(self) -> None:
        """What has been read already when it is made to rest is kept, as with TLS."""
        self.receive(frame(TEXT, b"1") * (AT_ONCE + 1))
        self.receive(frame(TEXT, b"2")[:1])
        self.receive(frame(TEXT, b"2")[1:])
        self.assertEqual(len(self.owner.texts), AT_ONCE)
        self.clock.advance(REST)
        self.assertEqual(self.owner.texts[AT_ONCE:], [b"1", b"2"])
        self.assertFalse(self.paused)

    def test_pongs_not_taken(self) -> None:
        """A pong without a payload takes room, too: who does not read is cut off."""
        producer: Any = self.transport.producer
        producer.pauseProducing()
        for _ in range(MOST_PONGS):
            self.receive(frame(PING, b""))
        self.assertFalse(self.transport.aborted)
        self.receive(frame(PING, b""))
        self.assertTrue(self.transport.aborted)

    def test_close_comes_last(self) -> None:
        """Its goodbye is heard when its turn comes, and then no more."""
        self.receive(frame(TEXT, b"{}") * MANY + frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late"))
        self.clock.pump([REST] * (MANY // AT_ONCE + 1))
        self.assertEqual(self.owner.texts, [b"{}"] * MANY)
        self.assertEqual(self.owner.ends, ["closing"])

    def test_given_up_meanwhile(self) -> None:
        """One that is dropped while it rests is not read again."""
        self.receive(frame(TEXT, b"{}") * MANY)
        self.protocol.abort("enough")
        self.clock.advance(REST)
        self.assertEqual(len(self.owner.texts), AT_ONCE)
        self.assertTrue(self.paused)
