"""Wrong passwords on real MQTT bytes: told late when there are too many, and only then."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import CLIENT_ID, Bench, Tcp, credentials, fired
from xzgw.core.throttle import ALLOWED, DELAY
from xzgw.net.device import CLOSE_TIME
from xzgw.wire.packets import Connack, Pingreq, Publish

BAD_CREDENTIALS = 4
WRONG = replace(credentials(), password=b"gue55")
PEER = "198.51.100.7"


class LateRefusalTests(SynchronousTestCase):
    """An address from which ten wrong passwords have just come."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.clock = self.bench.clock
        self._connections: list[Tcp] = []
        for _ in range(ALLOWED):
            tcp = self.guess()
            self.assertEqual(tcp.packets(), [Connack(BAD_CREDENTIALS)])
            self.assertTrue(tcp.closing)
            tcp.lose()
            self._connections.remove(tcp)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def tearDown(self) -> None:
        for tcp in self._connections:
            tcp.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.bench.gateway.devices, {})

    def connection(self, peer: str = PEER) -> Tcp:
        self._connections.append(self.bench.connection(peer))
        return self._connections[-1]

    def guess(self, peer: str = PEER) -> Tcp:
        """A connection that has sent a wrong password."""
        tcp = self.connection(peer)
        tcp.send(WRONG)
        return tcp

    def test_late(self) -> None:
        """A second later it gets the very CONNACK that others get, then it is closed."""
        tcp = self.guess()
        self.clock.advance(DELAY - 0.01)
        self.assertEqual(tcp.packets(), [])
        self.assertFalse(tcp.closing)
        self.clock.advance(0.01)
        self.assertEqual(tcp.packets(), [Connack(BAD_CREDENTIALS)])
        self.assertTrue(tcp.closing)
        self.assertFalse(tcp.aborted)
        self.clock.advance(CLOSE_TIME)
        self.assertTrue(tcp.aborted)

    def test_deaf_meanwhile(self) -> None:
        """What it sends while it waits is not processed: no second guess, no junk, no fault."""
        tcp = self.guess()
        tcp.send(credentials(), Pingreq(), Publish("device-server", b'{"type":"hello"}'))
        for junk in (b"\xff" * 100, b"\x00" * 100):
            tcp.send_bytes(junk)
        self.assertEqual(tcp.packets(), [])
        self.assertFalse(tcp.closing)
        self.assertEqual(self.bench.gateway.devices, {})
        self.assertEqual(self.bench.gateway.wrong_answers.total, ALLOWED + 1)
        self.clock.advance(DELAY)
        self.assertEqual(tcp.packets(), [Connack(BAD_CREDENTIALS)])

    def test_gone_meanwhile(self) -> None:
        """A guesser that does not wait leaves nothing behind."""
        tcp = self.guess()
        tcp.lose()
        self._connections.remove(tcp)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(DELAY)
        self.assertEqual(tcp.packets(), [])

    def test_stop_meanwhile(self) -> None:
        """A gateway that stops does not wait for it."""
        tcp = self.guess()
        done = self.bench.factory.close_all("stopping")
        self.assertTrue(tcp.closing)
        self.clock.advance(DELAY)
        self.assertEqual(tcp.packets(), [])
        self.assertFalse(fired(done))
        tcp.lose()
        self._connections.remove(tcp)
        self.assertTrue(fired(done))

    def test_right_password(self) -> None:
        """A right one from the same address is let in at once, even while a wrong one waits."""
        waiting = self.guess()
        tcp = self.connection()
        tcp.send(credentials())
        self.assertEqual(tcp.packets()[0], Connack(0))
        self.assertIn(CLIENT_ID, self.bench.gateway.devices)
        self.clock.advance(DELAY)
        self.assertEqual(waiting.packets(), [Connack(BAD_CREDENTIALS)])
        self.assertFalse(tcp.closing)

    def test_other_address(self) -> None:
        """A wrong one from elsewhere is told at once."""
        tcp = self.guess("198.51.100.8")
        self.assertEqual(tcp.packets(), [Connack(BAD_CREDENTIALS)])

    def test_other_reasons(self) -> None:
        """A CONNECT that is refused for another reason is told at once."""
        tcp = self.connection()
        tcp.send(replace(credentials(), client_id="only-one-part"))
        self.assertEqual(tcp.packets(), [Connack(2)])

    def test_at_the_same_time(self) -> None:
        """Many wrong ones wait side by side, each its own second."""
        waiting = []
        for _ in range(5):
            waiting.append(self.guess())
            self.clock.advance(0.1)
        self.clock.advance(DELAY - 0.3)
        told = [tcp.packets() == [Connack(BAD_CREDENTIALS)] for tcp in waiting]
        self.assertEqual(told, [True, True, True, False, False])

    def test_after_a_minute(self) -> None:
        """When it has been quiet for a minute, it has its ten again."""
        self.clock.advance(60.0)
        self.assertEqual(self.guess().packets(), [Connack(BAD_CREDENTIALS)])

    def test_log(self) -> None:
        """Two warnings; from then on refusals have no line of their own."""
        with capturedLogs() as logs:
            waiting = [self.guess() for _ in range(3)]
            lines = [formatEvent(event) for event in logs]
            self.assertEqual(len(lines), 2)
            self.assertIn("more than 10 refusals", lines[0])
            self.assertIn("more than 10 wrong passwords", lines[1])
            self.clock.advance(DELAY)
            for tcp in waiting:
                tcp.lose()
                self._connections.remove(tcp)
        told = [formatEvent(e) for e in logs if e["log_level"] is not LogLevel.debug]
        self.assertEqual(told, lines)
        self.assertNotIn("gue55", repr([formatEvent(event) for event in logs]))
