"""The codec against paho-mqtt: each reads what the other writes."""

from __future__ import annotations

import socket
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.mqtt import Decoder, encode
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


class WiredClient(Client):
    """A paho client that connects to the socket it is given."""

    def __init__(self, wire: socket.socket, **options: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, **options)
        self._wire = wire

    def _create_socket_connection(self) -> socket.socket:
        return self._wire


class PahoTests(SynchronousTestCase):
    """paho on one end of a socket pair, the codec on the other; no event loop, no threads."""

    def setUp(self) -> None:
        theirs, self.ours = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(self.ours.close)
        self.ours.settimeout(5)
        self.theirs = theirs
        self.decoder = Decoder(8192)
        self.events: list[object] = []

    def client(self, **options: Any) -> WiredClient:
        """A client that has not yet connected; what it is told lands in `events`."""
        client = WiredClient(self.theirs, **options)
        client.on_connect = lambda _c, _u, flags, reason, _p: self.events.append(
            ("connect", flags.session_present, reason.value)
        )
        client.on_message = lambda _c, _u, message: self.events.append(self.summary(message))
        client.on_publish = lambda _c, _u, mid, _r, _p: self.events.append(("published", mid))
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self.events.append(
            ("subscribed", mid, [code.value for code in codes])
        )
        client.on_unsubscribe = lambda _c, _u, mid, _r, _p: self.events.append(
            ("unsubscribed", mid)
        )
        return client

    def summary(self, message: MQTTMessage) -> Publish:
        """paho's message as our packet."""
        payload = bytes(message.payload)
        return Publish(
            message.topic, payload, message.qos, message.retain, message.dup, message.mid
        )

    def connected(self, **options: Any) -> WiredClient:
        """A client whose CONNECT was accepted."""
        client = self.client(client_id="c", **options)
        client.connect("peer")
        self.assertEqual([type(packet) for packet in self.written()], [Connect])
        self.tell(client, Connack(0))
        self.assertEqual(self.events, [("connect", False, 0)])
        self.events.clear()
        return client

    def written(self) -> list[Packet]:
        """What paho wrote."""
        return list(self.decoder.feed(self.ours.recv(65536)))

    def tell(self, client: WiredClient, packet: Packet) -> None:
        """Let paho read one packet of ours."""
        self.ours.sendall(encode(packet))
        self.assertEqual(client.loop_read(), MQTTErrorCode.MQTT_ERR_SUCCESS)

    def test_connect(self) -> None:
        """paho's CONNECT is read, with all its fields."""
        client = self.client(client_id="GID@@@a0@@@u", clean_session=False)
        client.username_pw_set("näme", "secret")
        client.will_set("w/t", b"\x00gone", qos=2, retain=True)
        client.connect("peer", keepalive=240)
        will = Will("w/t", b"\x00gone", 2, True)
        expected = Connect("GID@@@a0@@@u", "näme", b"secret", 240, False, 4, will)
        self.assertEqual(self.written(), [expected])

    def test_connect_3_1(self) -> None:
        """paho's CONNECT of level 3 is read."""
        client = self.client(client_id="c", protocol=MQTTProtocolVersion.MQTTv31)
        client.connect("peer", keepalive=10)
        self.assertEqual(self.written(), [Connect("c", None, None, 10, True, 3, None)])

    def test_connack(self) -> None:
        """paho takes an acceptance and a refusal."""
        client = self.client(client_id="c", clean_session=False)
        client.connect("peer")
        self.tell(client, Connack(0, session_present=True))
        self.ours.sendall(encode(Connack(5)))
        self.assertEqual(client.loop_read(), MQTTErrorCode.MQTT_ERR_CONN_REFUSED)
        not_authorized = 135  # paho maps return code 5 to the reason code of MQTT 5
        self.assertEqual(self.events, [("connect", True, 0), ("connect", False, not_authorized)])

    def test_publish_up(self) -> None:
        """paho's publishes of every QoS are read, and our acks complete them."""
        self.publish_up(MQTTProtocolVersion.MQTTv311)

    def test_publish_up_3_1(self) -> None:
        """The same in 3.1."""
        self.publish_up(MQTTProtocolVersion.MQTTv31)

    def publish_up(self, protocol: MQTTProtocolVersion) -> None:
        """Publish at QoS 0, 1 and 2."""
        client = self.connected(protocol=protocol)
        payload = bytes(range(256)) * 16
        zero = client.publish("device-server", payload)
        self.assertEqual(self.written(), [Publish("device-server", payload)])
        one = client.publish("一", b"", qos=1, retain=True)
        self.assertEqual(self.written(), [Publish("一", b"", 1, True, False, one.mid)])
        self.tell(client, Puback(one.mid))
        two = client.publish("t", b"x", qos=2)
        self.assertEqual(self.written(), [Publish("t", b"x", 2, packet_id=two.mid)])
        self.tell(client, Pubrec(two.mid))
        self.assertEqual(self.written(), [Pubrel(two.mid)])
        self.assertFalse(two.is_published())
        self.tell(client, Pubcomp(two.mid))
        self.assertEqual(self.events, [("published", each.mid) for each in (zero, one, two)])

    def test_publish_down(self) -> None:
        """paho reads our publishes of every QoS, and its acks are read."""
        client = self.connected()
        quiet = Publish("devices/p2p/a0_85", '{"a":"小"}'.encode() * 100)
        self.tell(client, quiet)
        once = Publish("t", b"\xff", 1, retain=True, packet_id=7)
        self.tell(client, once)
        self.assertEqual(self.written(), [Puback(7)])
        twice = Publish("t", b"", 2, dup=True, packet_id=0xFFFF)
        self.tell(client, twice)
        self.assertEqual(self.written(), [Pubrec(0xFFFF)])
        self.tell(client, Pubrel(0xFFFF))
        self.assertEqual(self.written(), [Pubcomp(0xFFFF)])
        self.assertEqual(self.events, [quiet, once, twice])

    def test_subscribe(self) -> None:
        """Both lists of filters are read, and paho reads both answers."""
        client = self.connected()
        _, mid = client.subscribe([("null", 0), ("a/+/#", 2)])
        self.assertIsNotNone(mid)
        self.assertEqual(self.written(), [Subscribe(mid or 0, (("null", 0), ("a/+/#", 2)))])
        self.tell(client, Suback(mid or 0, (0, 128)))
        _, last = client.unsubscribe(["null", "+"])
        self.assertEqual(self.written(), [Unsubscribe(last or 0, ("null", "+"))])
        self.tell(client, Unsuback(last or 0))
        self.assertEqual(self.events, [("subscribed", mid, [0, 128]), ("unsubscribed", last)])

    def test_ping_and_disconnect(self) -> None:
        """The bare packets of both sides are read."""
        client = self.connected()
        client._send_pingreq()  # its public way is to wait for a keep-alive
        self.assertEqual(self.written(), [Pingreq()])
        self.assertGreater(client._ping_t, 0)
        self.tell(client, Pingresp())
        self.assertEqual(client._ping_t, 0)
        client.disconnect()
        self.assertEqual(self.written(), [Disconnect()])
