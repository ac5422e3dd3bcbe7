"""Acknowledging what a client publishes, MQTT 3.1.1 section 4.3."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.mqtt import MqttError
from xzgw.wire.mqtt_inbound import MAX_INFLIGHT, Inbound
from xzgw.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel


def publish(qos: int, packet_id: int = 0) -> Publish:
    return Publish("t", b"x", qos=qos, packet_id=packet_id)


class InboundTests(SynchronousTestCase):
    """The receiver's side of the three levels of service."""

    def setUp(self) -> None:
        self.inbound = Inbound()

    def test_at_most_once(self) -> None:
        """QoS 0 is delivered and not answered."""
        self.assertEqual(self.inbound.take(publish(0)), (None, True))

    def test_at_least_once(self) -> None:
        """QoS 1 is delivered and acknowledged each time it comes (MQTT-4.3.2-2)."""
        for _ in range(2):
            self.assertEqual(self.inbound.take(publish(1, 7)), (Puback(7), True))

    def test_exactly_once(self) -> None:
        """QoS 2 is delivered once until it is released (MQTT-4.3.3-2)."""
        self.assertEqual(self.inbound.take(publish(2, 7)), (Pubrec(7), True))
        self.assertEqual(self.inbound.take(publish(2, 7)), (Pubrec(7), False))
        self.assertEqual(self.inbound.take(publish(2, 8)), (Pubrec(8), True))
        self.assertEqual(self.inbound.release(Pubrel(7)), Pubcomp(7))
        self.assertEqual(self.inbound.take(publish(2, 7)), (Pubrec(7), True))

    def test_unknown_release(self) -> None:
        """A release of what was never published is answered all the same."""
        self.assertEqual(self.inbound.release(Pubrel(9)), Pubcomp(9))

    def test_bound(self) -> None:
        """So many may wait for their release; one of them may come again, another not."""
        for packet_id in range(1, MAX_INFLIGHT + 1):
            self.inbound.take(publish(2, packet_id))
        self.assertEqual(self.inbound.take(publish(2, 1)), (Pubrec(1), False))
        self.assertRaises(MqttError, self.inbound.take, publish(2, MAX_INFLIGHT + 1))
