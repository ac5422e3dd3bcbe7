"""The MQTT conversation, rule by rule, without sockets."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.net.support import CLIENT_ID, TOPIC, Bench, Tcp, credentials, fired
from xzgw.net.device import CLOSE_TIME, CONNECT_TIME, LAST_CONNECT_TIME, MAX_BACKLOG
from xzgw.net.tcp import OPTIONS
from xzgw.wire import messages
from xzgw.wire.mqtt import encode
from xzgw.wire.mqtt_inbound import MAX_INFLIGHT
from xzgw.wire.packets import (
    Connack,
    Connect,
    Disconnect,
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
    Will,
)

# Answered with a goodbye that carries the id, as no session is open: shows that it was taken.
STALE = b'{"type":"listen","session_id":"%d"}'


def stale(number: int, qos: int = 0, packet_id: int = 0, dup: bool = False) -> Publish:
    """A message that the gateway answers with a goodbye for session `number`."""
    return Publish("device-server", STALE % number, qos, dup=dup, packet_id=packet_id)


def goodbyes(packets: list[Packet]) -> list[str]:
    """The session ids of goodbyes among what the gateway sent."""
    texts = [messages.parse(p.payload) for p in packets if isinstance(p, Publish)]
    return [text["session_id"] for text in texts if text["type"] == "goodbye"]


class DeviceTestCase(SynchronousTestCase):
    """Each test ends with the connections lost, and then no timer is left."""

    def setUp(self) -> None:
        self.bench = Bench()
        self._connections: list[Tcp] = []

    def connection(self) -> Tcp:
        self._connections.append(self.bench.connection())
        return self._connections[-1]

    def device(self, number: int = 0, keep_alive: int = 240) -> Tcp:
        self._connections.append(self.bench.device(number, keep_alive))
        return self._connections[-1]

    def tearDown(self) -> None:
        for tcp in self._connections:
            tcp.lose()
        self.assertEqual(self.bench.clock.getDelayedCalls(), [])
        self.assertEqual(self.bench.gateway.devices, {})

    def assertClosed(self, tcp: Tcp, *replies: Packet) -> None:
        """The gateway sent these last and closes; what comes after is neither read nor answered."""
        self.assertEqual(tcp.replies(), list(replies))
        self.assertTrue(tcp.closing)
        tcp.send(credentials(), stale(1), Pingreq())
        tcp.send_bytes(b"\xff\xff")
        self.assertEqual(tcp.packets(), [])


class DeadPeerTests(DeviceTestCase):
    """A peer that has vanished is TCP's to find."""

    def test_options(self) -> None:
        """A device's connection is prepared for that."""
        tcp = self.connection()
        self.assertTrue(tcp.transport.keep_alive)
        self.assertEqual(tcp.transport.handle.options, OPTIONS)


class ConnectTests(DeviceTestCase):
    """Until a device is let in."""

    def test_accepted(self) -> None:
        """CONNACK 0 without session present comes first (MQTT-3.1.4-4, MQTT-3.2.2-1)."""
        tcp = self.connection()
        tcp.send(credentials())
        self.assertEqual(tcp.packets()[0], Connack(0, session_present=False))
        self.assertFalse(tcp.closing)
        self.assertIn(CLIENT_ID, self.bench.gateway.devices)

    def test_clean_session_off_will_and_retain(self) -> None:
        """They are accepted and ignored; no session is ever present (MQTT-3.2.2-3)."""
        tcp = self.connection()
        will = Will("device-server", STALE % 9, 2, True)
        tcp.send(replace(credentials(), clean_session=False, will=will))
        self.assertEqual(tcp.packets()[0], Connack(0, session_present=False))
        tcp.send(replace(stale(1), retain=True))
        self.assertEqual(goodbyes(tcp.packets()), ["1"])

    def test_level_3(self) -> None:
        """MQTT 3.1 is let in as well."""
        tcp = self.connection()
        tcp.send(replace(credentials(), level=3))
        self.assertEqual(tcp.packets()[0], Connack(0))

    def test_first_packet_is_not_connect(self) -> None:
        """Any other first packet closes without an answer (MQTT-3.1.0-1)."""
        others = (Pingreq(), stale(1), Disconnect(), Subscribe(1, ((TOPIC, 0),)), Connack(0))
        for packet in others:
            tcp = self.connection()
            tcp.send(packet, credentials())
            self.assertClosed(tcp)
        self.assertEqual(self.bench.gateway.devices, {})

    def test_second_connect(self) -> None:
        """A second CONNECT is a violation and closes (MQTT-3.1.0-2)."""
        tcp = self.device()
        tcp.send(credentials(), stale(1))
        self.assertClosed(tcp)

    def test_return_codes(self) -> None:
        """A refusal names its reason (MQTT-3.2.2-4), closes (MQTT-3.2.2-5), and nothing sent with
        or after that CONNECT is processed (MQTT-3.1.4-5)."""
        good = credentials()
        refusals: tuple[tuple[Connect, int], ...] = (
            (replace(good, client_id="only-one-part"), 2),
            (replace(good, client_id="a@@@zz_85_e3_f4_49_34@@@uuid"), 2),
            (replace(good, password=b"wrong"), 4),
            (replace(good, password=None), 4),
            (replace(good, username=None, password=None), 4),
            (replace(good, username="not base64!"), 4),
            (replace(good, client_id=CLIENT_ID.rpartition("@@@")[0]), 5),
        )
        for connect, code in refusals:
            tcp = self.connection()
            tcp.send(connect, stale(1), Pingreq())
            self.assertClosed(tcp, Connack(code))
        self.assertEqual(self.bench.gateway.devices, {})

    def test_unacceptable_level(self) -> None:
        """A protocol level that is not ours gets CONNACK 1 (MQTT-3.1.2-2)."""
        tcp = self.connection()
        wire = bytearray(encode(credentials()))
        level = wire.index(b"MQTT") + 4
        wire[level] = 5
        tcp.send_bytes(bytes(wire))
        self.assertClosed(tcp, Connack(1))

    def test_unknown_protocol(self) -> None:
        """Another protocol name closes without an answer (MQTT-3.1.2-1)."""
        tcp = self.connection()
        tcp.send_bytes(encode(credentials()).replace(b"MQTT", b"HTTP"))
        self.assertClosed(tcp)

    def test_junk(self) -> None:
        """What is not MQTT at all closes without an answer."""
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x10\xff\xff\xff\xff"):
            tcp = self.connection()
            tcp.send_bytes(junk)
            self.assertClosed(tcp)

    def test_stopping(self) -> None:
        """A gateway that stops lets nobody in: CONNACK 3."""
        self.bench.gateway.stop("stopping")
        tcp = self.connection()
        tcp.send(credentials())
        self.assertClosed(tcp, Connack(3))

    def test_no_connect_in_time(self) -> None:
        """Without CONNECT within 10 s the connection closes, half of one or not."""
        self.assertEqual(CONNECT_TIME, 10.0)
        for begun in (b"", encode(credentials())[:-1]):
            tcp = self.connection()
            tcp.send_bytes(begun)
            self.bench.clock.advance(9.9)
            self.assertFalse(tcp.closing)
            self.bench.clock.advance(0.1)
            self.assertClosed(tcp)

    def test_first_byte_tells(self) -> None:
        """Whatever is not CONNECT is not waited for to the end (MQTT-3.1.0-1)."""
        for first in (b"\x30", b"\x00", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"):
            tcp = self.connection()
            tcp.send_bytes(first)
            self.assertClosed(tcp)

    def test_connect_in_time(self) -> None:
        """That time limit ends with CONNECT."""
        tcp = self.device(keep_alive=0)
        self.bench.clock.advance(CONNECT_TIME + 1)
        self.assertFalse(tcp.closing)

    def test_take_over(self) -> None:
        """The same client id connecting again ends the older connection (MQTT-3.1.4-2)."""
        old, new = self.device(), self.device()
        self.assertTrue(old.closing)
        self.assertFalse(new.closing)
        new.send(stale(1))
        self.assertEqual(goodbyes(new.packets()), ["1"])
        self.assertEqual(old.packets(), [])
        old.lose()
        self.assertIn(CLIENT_ID, self.bench.gateway.devices)

    def test_wrong_password_does_not_take_over(self) -> None:
        """A device that is connected is not disturbed by somebody who is refused."""
        here, other = self.device(), self.connection()
        other.send(replace(credentials(), password=b"wrong"))
        self.assertClosed(other, Connack(4))
        self.assertFalse(here.closing)

    def test_guessing(self) -> None:
        """After ten wrong passwords from an address further refusals come a second late; nothing
        sent meanwhile is processed, not even the right password (MQTT-3.1.4-5)."""
        wrong = replace(credentials(), password=b"wrong")
        for _ in range(10):
            tcp = self.connection()
            tcp.send(wrong)
            self.assertClosed(tcp, Connack(4))
        tcp, impatient = self.connection(), self.connection()
        for each in (tcp, impatient):
            each.send(wrong, credentials())
            each.send(credentials(), Pingreq())
            each.send_bytes(b"\xff\xff")
        impatient.lose()
        self.bench.clock.advance(0.9)
        self.assertEqual(tcp.packets(), [])
        self.assertFalse(tcp.closing)
        self.bench.clock.advance(0.1)
        self.assertClosed(tcp, Connack(4))
        right = self.device()
        self.assertFalse(right.closing)

    def test_socket_options(self) -> None:
        """Small packets leave at once, and a vanished peer is noticed."""
        transport = self.connection().transport
        self.assertTrue(transport.no_delay)
        self.assertTrue(transport.keep_alive)
        self.assertTrue(transport.streaming)


class KeepAliveTests(DeviceTestCase):
    """Silence ends a connection (MQTT-3.1.2-24)."""

    def test_silence(self) -> None:
        """After one and a half times the keep-alive, not before (MQTT-3.1.2-24)."""
        tcp = self.device(keep_alive=240)
        self.bench.clock.advance(359.9)
        self.assertFalse(tcp.closing)
        self.bench.clock.advance(0.1)
        self.assertClosed(tcp)

    def test_any_packet_counts(self) -> None:
        """Each whole control packet starts the time again (MQTT-3.1.2-24)."""
        tcp = self.device(keep_alive=10)
        for packet in (Pingreq(), stale(1), Puback(1), Publish("other", b"")):
            self.bench.clock.advance(14.9)
            tcp.send(packet)
        self.assertFalse(tcp.closing)
        tcp.packets()
        self.bench.clock.advance(14.9)
        tcp.send_bytes(encode(Pingreq())[:1])
        self.bench.clock.advance(0.1)
        self.assertClosed(tcp)

    def test_zero(self) -> None:
        """Keep-alive 0 turns the rule off (MQTT 3.1.1 section 3.1.2.10)."""
        tcp = self.device(keep_alive=0)
        tcp.send(Pingreq())
        self.bench.clock.advance(10 * 65535)
        self.assertFalse(tcp.closing)

    def test_what_we_send_does_not_count(self) -> None:
        """Only the device's packets keep it alive (MQTT-3.1.2-24)."""
        tcp = self.device(keep_alive=10)
        self.bench.clock.advance(14.9)
        tcp.protocol.publish(b"{}")
        self.bench.clock.advance(0.1)
        self.assertTrue(tcp.closing)


class PublishTests(DeviceTestCase):
    """What a device sends us."""

    def test_qos_0(self) -> None:
        """Taken, and not acknowledged."""
        tcp = self.device()
        tcp.send(stale(1))
        packets = tcp.packets()
        self.assertEqual(goodbyes(packets), ["1"])
        self.assertEqual(len(packets), 1)

    def test_qos_1(self) -> None:
        """Taken and acknowledged with its packet id, again when it comes again (MQTT-4.3.2-2)."""
        tcp = self.device()
        for dup in (False, True):
            tcp.send(stale(1, qos=1, packet_id=513, dup=dup))
            packets = tcp.packets()
            self.assertEqual(packets[0], Puback(513))
            self.assertEqual(goodbyes(packets), ["1"])

    def test_qos_2(self) -> None:
        """PUBREC, then PUBCOMP for PUBREL; delivered once however often sent (MQTT-4.3.3-2)."""
        tcp = self.device()
        tcp.send(stale(1, qos=2, packet_id=7))
        packets = tcp.packets()
        self.assertEqual(packets[0], Pubrec(7))
        self.assertEqual(goodbyes(packets), ["1"])
        tcp.send(stale(1, qos=2, packet_id=7, dup=True), stale(1, qos=2, packet_id=7, dup=True))
        self.assertEqual(tcp.packets(), [Pubrec(7), Pubrec(7)])
        tcp.send(Pubrel(7))
        self.assertEqual(tcp.packets(), [Pubcomp(7)])

    def test_qos_2_id_used_again(self) -> None:
        """After PUBREL the same packet id is another message (MQTT-4.3.3-2)."""
        tcp = self.device()
        for number in (1, 2):
            tcp.send(stale(number, qos=2, packet_id=7), Pubrel(7))
            packets = tcp.packets()
            self.assertEqual(goodbyes(packets), [str(number)])
            self.assertEqual(packets[-1], Pubcomp(7))

    def test_qos_2_order(self) -> None:
        """PUBREC and PUBCOMP come in the order of PUBLISH and PUBREL (MQTT-4.6.0-3, MQTT-4.6.0-4
        for the receiving side)."""
        tcp = self.device()
        tcp.send(*(stale(i, qos=2, packet_id=i) for i in (3, 1, 2)), Pubrel(1), Pubrel(3))
        self.assertEqual(tcp.replies(), [Pubrec(3), Pubrec(1), Pubrec(2), Pubcomp(1), Pubcomp(3)])

    def test_unknown_pubrel(self) -> None:
        """PUBREL for a packet id not known is answered too (MQTT-4.3.3-2): PUBCOMP may be lost."""
        tcp = self.device()
        tcp.send(Pubrel(99))
        self.assertEqual(tcp.packets(), [Pubcomp(99)])

    def test_too_many_in_flight(self) -> None:
        """A device that never sends PUBREL is closed before it fills memory."""
        tcp = self.device()
        wrong = (Publish("x", b"", 2, packet_id=i) for i in range(1, MAX_INFLIGHT + 1))
        tcp.send(*wrong)
        self.assertEqual(len(tcp.packets()), MAX_INFLIGHT)
        self.assertFalse(tcp.closing)
        tcp.send(Publish("x", b"", 2, packet_id=MAX_INFLIGHT))
        self.assertFalse(tcp.closing)
        tcp.send(Publish("x", b"", 2, packet_id=MAX_INFLIGHT + 1))
        self.assertTrue(tcp.closing)

    def test_wrong_topic(self) -> None:
        """On another topic it is acknowledged (MQTT-3.3.5-2) and dropped, with one warning."""
        tcp = self.device()
        with capturedLogs() as log:
            for topic in ("devices/p2p/x", "device-server/", "Device-Server"):
                tcp.send(replace(stale(1), topic=topic))
                tcp.send(replace(stale(1, qos=1, packet_id=5), topic=topic))
                tcp.send(replace(stale(1, qos=2, packet_id=6), topic=topic), Pubrel(6))
        self.assertEqual(tcp.packets(), [Puback(5), Pubrec(6), Pubcomp(6)] * 3)
        warnings = [event for event in log if event["log_level"] is LogLevel.warn]
        self.assertEqual([event["topic"] for event in warnings], ["devices/p2p/x"])

    def test_configured_topic(self) -> None:
        """The topic is the configured one, also after it is configured anew."""
        tcp = self.device()
        gateway = self.bench.gateway
        gateway.configure(replace(gateway.services.config, publish_topic="up"))
        tcp.send(stale(1), replace(stale(2), topic="up"))
        self.assertEqual(goodbyes(tcp.packets()), ["2"])

    def test_oversized(self) -> None:
        """A payload beyond max_mqtt_payload_size closes the connection."""
        self.bench = Bench(max_mqtt_payload_size=256)
        tcp = self.device()
        tcp.send(Publish("device-server", bytes(256)))
        self.assertFalse(tcp.closing)
        tcp.send_bytes(encode(Publish("device-server", bytes(257)))[:20])
        self.assertTrue(tcp.closing)


class SubscribeTests(DeviceTestCase):
    """Topics are not ours to give, but for the device's own."""

    def test_own_topic(self) -> None:
        """Granted at QoS 0, whatever is asked for (MQTT-3.8.4-6), under the same packet id
        (MQTT-3.8.4-2)."""
        tcp = self.device()
        for qos in (0, 1, 2):
            tcp.send(Subscribe(100 + qos, ((TOPIC, qos),)))
            self.assertEqual(tcp.packets(), [Suback(100 + qos, (0,))])

    def test_one_code_per_filter(self) -> None:
        """One return code for each filter, in their order (MQTT-3.8.4-5, MQTT-3.9.3-1); only the
        device's own topic is granted, no wildcard that would match it, and not `null`."""
        tcp = self.device()
        others = (
            *("#", "+/+/+", "devices/p2p/+", "devices/p2p/#", TOPIC + "/#", "null"),
            *("devices/p2p/11_22_33_44_55_66", "device-server", TOPIC.upper(), "$SYS/#"),
        )
        filters = tuple((topic, 0) for topic in (*others[:5], TOPIC, *others[5:]))
        tcp.send(Subscribe(1, filters))
        codes = tuple(0 if topic == TOPIC else 0x80 for topic, _ in filters)
        self.assertEqual(tcp.packets(), [Suback(1, codes)])
        self.assertFalse(tcp.closing)

    def test_unsubscribe(self) -> None:
        """UNSUBACK with its packet id, subscribed or not (MQTT-3.10.4-4, MQTT-3.10.4-5)."""
        tcp = self.device()
        tcp.send(Unsubscribe(1, (TOPIC,)), Unsubscribe(65535, ("never", "seen")))
        self.assertEqual(tcp.packets(), [Unsuback(1), Unsuback(65535)])

    def test_pushed_without_subscription(self) -> None:
        """We publish to the device's own topic at QoS 0, subscribed or not."""
        tcp = self.device()
        tcp.protocol.publish(b'{"a":1}')
        self.assertEqual(tcp.packets(), [Publish(TOPIC, b'{"a":1}')])

    def test_own_only(self) -> None:
        """Two devices get what is theirs."""
        one, two = self.device(0), self.device(1)
        one.send(stale(1))
        two.send(stale(2))
        self.assertEqual(goodbyes(one.packets()), ["1"])
        self.assertEqual(goodbyes(two.packets()), ["2"])


class CostTests(DeviceTestCase):
    """What is more work than a usual message counts as several towards message_rate."""

    def setUp(self) -> None:
        super().setUp()
        self.bench = Bench(message_rate=10, message_burst=12)

    def test_filters(self) -> None:
        """Topic filters, sixty-four at a time, whether subscribed to or unsubscribed from."""
        one, other = self.device(0), self.device(1)
        for filters, answers in ((64 * 10, 1), (64, 0), (63, 1)):
            one.send(Subscribe(1, (("x", 0),) * filters))
            other.send(Unsubscribe(1, ("x",) * filters))
            self.assertEqual(len(one.packets()), answers)
            self.assertEqual(len(other.packets()), answers)

    def test_bytes(self) -> None:
        """Bytes, eight KiB at a time, whatever the topic."""
        for topic in ("device-server", "elsewhere"):
            tcp = self.device()
            tcp.send(Publish(topic, bytes(8192 * 10)))
            tcp.send(stale(1), stale(2))
            self.assertEqual(goodbyes(tcp.packets()), ["1"])

    def test_larger_than_all(self) -> None:
        """A message that costs more than the burst passes when nothing else has."""
        tcp = self.device()
        large = STALE % 1 + b" " * 8192 * 50
        tcp.send(Publish("device-server", large), Publish("device-server", large))
        self.assertEqual(goodbyes(tcp.packets()), ["1"])


class OtherPacketTests(DeviceTestCase):
    """PING, DISCONNECT, and what a device has no business sending."""

    def test_ping(self) -> None:
        """PINGREQ is answered with PINGRESP (MQTT-3.12.4-1)."""
        tcp = self.device()
        tcp.send(Pingreq(), Pingreq())
        self.assertEqual(tcp.packets(), [Pingresp(), Pingresp()])

    def test_disconnect(self) -> None:
        """DISCONNECT closes; nothing that follows is processed (MQTT-3.14.4-2)."""
        tcp = self.device()
        tcp.send(Disconnect(), stale(1))
        self.assertClosed(tcp)

    def test_acknowledgements_for_nothing(self) -> None:
        """PUBACK, PUBREC and PUBCOMP for what we never sent are ignored."""
        tcp = self.device()
        tcp.send(Puback(1), Pubrec(2), Pubcomp(3))
        self.assertEqual(tcp.packets(), [])
        self.assertFalse(tcp.closing)

    def test_server_only(self) -> None:
        """What only servers may send is a violation and closes (MQTT-4.8.0-1)."""
        for packet in (Connack(0), Suback(1, (0,)), Unsuback(1), Pingresp()):
            tcp = self.device()
            tcp.send(packet, stale(1))
            self.assertClosed(tcp)
            tcp.lose()

    def test_violation_after_connect(self) -> None:
        """A malformed packet closes without an answer; those before it are served
        (MQTT-4.8.0-1)."""
        tcp = self.device()
        tcp.send_bytes(encode(Pingreq()) + b"\xf0\x00" + encode(Pingreq()))
        self.assertClosed(tcp, Pingresp())

    def test_violation_with_a_return_code_after_connect(self) -> None:
        """A second CONNECT of an unknown level gets no CONNACK (MQTT-3.1.0-2)."""
        tcp = self.device()
        wire = bytearray(encode(credentials()))
        wire[wire.index(b"MQTT") + 4] = 5
        tcp.send_bytes(bytes(wire))
        self.assertClosed(tcp)

    def test_same_bytes_one_at_a_time(self) -> None:
        """How the bytes are cut into segments makes no difference."""
        tcp = self.connection()
        packets: tuple[Packet, ...] = (credentials(), Pingreq(), stale(1), Disconnect())
        wire = b"".join(map(encode, packets))
        for byte in wire:
            tcp.send_bytes(bytes((byte,)))
        answers = tcp.packets()
        self.assertEqual(answers[0], Connack(0))
        self.assertIn(Pingresp(), answers)
        self.assertEqual(goodbyes(answers), ["1"])
        self.assertTrue(tcp.closing)


class ClosingTests(DeviceTestCase):
    """Bounds, and the end of a connection."""

    def test_backlog(self) -> None:
        """A device that does not read is cut off beyond 256 KiB, not before."""
        self.assertEqual(MAX_BACKLOG, 256 * 1024)
        tcp = self.device()
        payload = bytes(1024 - 34)  # with its header, 1 KiB
        self.assertEqual(len(encode(Publish(TOPIC, payload))), 1024)
        tcp.producer.pauseProducing()
        for _ in range(256):
            tcp.protocol.publish(payload)
        self.assertFalse(tcp.closing)
        tcp.protocol.publish(b"")
        self.assertTrue(tcp.aborted)
        tcp.transport.clear()
        tcp.protocol.publish(payload)
        self.assertEqual(tcp.packets(), [])

    def test_backlog_is_read(self) -> None:
        """A device that reads again begins anew."""
        tcp = self.device()
        for _ in range(10):
            tcp.producer.pauseProducing()
            tcp.protocol.publish(bytes(200 * 1024))
            tcp.producer.resumeProducing()
        self.assertFalse(tcp.closing)
        self.assertEqual(len(tcp.packets()), 10)

    def test_acknowledgements_count_as_backlog(self) -> None:
        """Answers to a device that only writes are bounded as well."""
        tcp = self.device()
        tcp.producer.stopProducing()
        pings = encode(Pingreq()) * 512
        for _ in range(256):
            tcp.send_bytes(pings)
            self.bench.clock.advance(6.0)  # at most message_rate of them
        self.assertFalse(tcp.closing)
        tcp.send(Pingreq())
        self.assertTrue(tcp.aborted)

    def test_close_flushes_then_aborts(self) -> None:
        """Closing sends what is queued; after 3 s the rest is cut off."""
        self.assertEqual(CLOSE_TIME, 3.0)
        tcp = self.device()
        tcp.protocol.publish(b"last words")
        tcp.protocol.close("test")
        self.assertEqual(tcp.packets(), [Publish(TOPIC, b"last words")])
        self.assertTrue(tcp.closing)
        self.assertIsNone(tcp.transport.producer)
        self.bench.clock.advance(2.9)
        self.assertFalse(tcp.aborted)
        self.bench.clock.advance(0.1)
        self.assertTrue(tcp.aborted)

    def test_close_twice(self) -> None:
        """The first reason stands, and the time to flush is not extended."""
        tcp = self.device()
        with capturedLogs() as log:
            tcp.protocol.close("first")
            self.bench.clock.advance(2)
            tcp.protocol.close("second")
            self.bench.clock.advance(1)
            self.assertTrue(tcp.aborted)
            tcp.lose()
        self.assertEqual([e["why"] for e in log if "why" in e], ["first"])

    def test_lost(self) -> None:
        """A connection that breaks is logged with its reason, and its device leaves."""
        tcp = self.device()
        with capturedLogs() as log:
            tcp.lose(clean=False)
        self.assertEqual(self.bench.gateway.devices, {})
        whys = [e["why"] for e in log if "why" in e]
        self.assertEqual(len(whys), 1)
        self.assertIn("connection lost: ", whys[0])

    def test_lost_ends_the_dial(self) -> None:
        """A device that vanishes while a server is dialled leaves no dial behind."""
        tcp = self.device()
        tcp.send(Publish("device-server", b'{"type":"hello","version":3}'))
        (dial,) = self.bench.dials
        tcp.lose()
        self.assertEqual(dial.closed, [(1000, "device disconnected")])

    def test_log(self) -> None:
        """One line for connect and one for disconnect, without any secret."""
        with capturedLogs() as log:
            tcp = self.device()
            tcp.send(Disconnect())
            tcp.lose()
        lines = [e["log_format"].format(**e) for e in log if "name" in e]
        self.assertEqual(
            lines,
            [
                f"connect: {CLIENT_ID} from 198.51.100.7 keepalive=240s",
                f"disconnect: {CLIENT_ID}: device sent DISCONNECT",
            ],
        )
        password = credentials().password
        assert password is not None
        self.assertNotIn(password.decode("ascii"), repr(log))

    def test_refusal_log(self) -> None:
        """A refused device is named with the reason, and its password is not."""
        with capturedLogs() as log:
            tcp = self.connection()
            tcp.send(replace(credentials(), password=b"Secret-12"))
            tcp.lose()
        lines = [e["log_format"].format(**e) for e in log if "why" in e]
        self.assertEqual(len(lines), 1)
        self.assertIn(CLIENT_ID, lines[0])
        self.assertIn("wrong password", lines[0])
        self.assertNotIn("Secret-12", repr(log))


class FactoryTests(DeviceTestCase):
    """The end of all connections."""

    def test_close_all(self) -> None:
        """Fires when the last connection is gone, those without CONNECT included."""
        connections = [self.device(0), self.device(1), self.connection()]
        closed = self.bench.factory.close_all("stopping")
        self.bench.clock.advance(LAST_CONNECT_TIME)
        for tcp in connections:
            self.assertTrue(tcp.closing)
            self.assertFalse(fired(closed))
            tcp.lose()
        self.assertTrue(fired(closed))

    def test_close_none(self) -> None:
        """Fires at once when nobody is there."""
        self.device().lose()
        self.assertTrue(fired(self.bench.factory.close_all("stopping")))

    def test_does_not_read(self) -> None:
        """A connection that does not take its last words is cut off and does not hold us up."""
        tcp = self.device()
        closed = self.bench.factory.close_all("stopping")
        self.bench.clock.advance(CLOSE_TIME)
        self.assertTrue(tcp.aborted)
        tcp.lose(clean=False)
        self.assertTrue(fired(closed))
