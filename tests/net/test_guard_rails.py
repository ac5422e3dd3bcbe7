"""Wrong passwords on real MQTT bytes: told late when there are too many, and only then."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import CLIENT_ID, Bench, Tcp, credentials, fired
from tests.support import memory_taken
from xzgw.core.throttle import ALLOWED, DELAY
from xzgw.net.device import CLOSE_TIME
from xzgw.wire.packets import (
    Connack,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)

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
        self.assertEqual([formatEvent(event) for event in logs], lines)
        self.assertNotIn("gue55", repr([formatEvent(event) for event in logs]))


class PacketLimitTests(SynchronousTestCase):
    """A device that may send five packets at once, and two a second."""

    def setUp(self) -> None:
        self.bench = Bench(message_rate=2, message_burst=5)

    def answers(self, packet: Packet) -> list[Packet]:
        """What it gets for a hundred of these at once; it is closed for them."""
        tcp = self.bench.device()
        tcp.send(*[packet] * 100)
        self.assertTrue(tcp.closing, packet)
        replies = tcp.replies()
        tcp.lose()
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
        return replies

    def test_every_kind(self) -> None:
        """No packet is free: whatever they are, who sends them without end is closed."""
        kinds: list[tuple[Packet, list[Packet]]] = [
            (Pingreq(), [Pingresp()]),
            (Pubrel(7), [Pubcomp(7)]),
            (Puback(7), []),
            (Pubrec(7), []),
            (Pubcomp(7), []),
            (Subscribe(7, (("a", 0),)), [Suback(7, (128,))]),
            (Unsubscribe(7, ("a",)), [Unsuback(7)]),
        ]
        for packet, answer in kinds:
            self.assertEqual(self.answers(packet), answer * 5)

    def test_repeated(self) -> None:
        """So is who repeats a QoS 2 publish, which is acknowledged, but taken once."""
        answers = self.answers(Publish("device-server", b"{}", 2, packet_id=7))
        self.assertEqual(set(answers), {Pubrec(7)})
        self.assertLess(len(answers), 20)

    def test_in_time(self) -> None:
        """What comes at that rate is answered, however much it is; none of it is a message."""
        tcp = self.bench.device()
        for _ in range(20):
            tcp.send(Pingreq(), Pubrel(7))
            self.bench.clock.advance(1.0)
        self.assertEqual(tcp.replies(), [Pingresp(), Pubcomp(7)] * 20)
        (device,) = self.bench.gateway.devices.values()
        self.assertEqual((device.intake.messages, device.intake.limit.refused), (0, 0))
        tcp.lose()


class StrangerTests(SynchronousTestCase):
    """Connections that end before they were anybody's."""

    def leave(self, bench: Bench, count: int, peer: str = PEER) -> list[str]:
        """So many come, say something else than MQTT, and are gone; what is logged."""
        with capturedLogs() as logs:
            for _ in range(count):
                tcp = bench.connection(peer)
                tcp.send_bytes(b"GET / HTTP/1.1\r\n")
                tcp.lose()
        return [formatEvent(event) for event in logs]

    def test_few(self) -> None:
        """Each has its line."""
        lines = self.leave(Bench(), ALLOWED)
        self.assertEqual(len(lines), ALLOWED)
        self.assertTrue(all(line.startswith(f"no device: {PEER}:") for line in lines))

    def test_many(self) -> None:
        """One warning, and no more lines within the minute; others still have theirs."""
        bench = Bench()
        self.leave(bench, ALLOWED)
        (line,) = self.leave(bench, 100)
        self.assertIn("more than 10 connections that were no device's", line)
        self.assertEqual(bench.gateway.strangers.total, ALLOWED + 100)
        self.assertEqual(len(self.leave(bench, 1, "198.51.100.8")), 1)
        bench.clock.advance(60.0)
        self.assertEqual(len(self.leave(bench, 1)), 1)

    def test_debug(self) -> None:
        """With `debug` each has its line."""
        bench = Bench(debug=True)
        self.leave(bench, ALLOWED + 1)
        self.assertEqual(len(self.leave(bench, 5)), 5)

    def test_apart(self) -> None:
        """A load balancer that looks whether the port is open hides no wrong password."""
        bench = Bench()
        self.leave(bench, ALLOWED + 1)
        with capturedLogs() as logs:
            tcp = bench.connection()
            tcp.send(WRONG)
            tcp.lose()
        self.assertIn("wrong password", formatEvent(logs[0]) or "")

    def test_nothing_kept(self) -> None:
        """What it has sent of a large packet, and what it has not read, go with its connection, not
        some time later."""
        tcp = Bench().device()
        with memory_taken() as taken:
            tcp.send_bytes(b"\x30\x80\x80\x1c" + b"x" * 400_000)
            tcp.protocol.publish(b"y" * 200_000)
            self.assertGreater(taken(), 600_000)
            tcp.lose()
            del tcp.transport
            self.assertLess(taken(), 50_000)
