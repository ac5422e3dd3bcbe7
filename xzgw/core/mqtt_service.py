"""What a device that has been let in gets for its MQTT packets.

We are not a broker: what it publishes goes to its session, and what we publish goes to its own
topic whether it subscribed or not.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.core.device import Device
from xzgw.wire.mqtt import MqttError
from xzgw.wire.mqtt_inbound import Inbound
from xzgw.wire.packets import (
    Connect,
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

SUBSCRIBE_FAILURE = 0x80
FILTERS_A_MESSAGE = 64  # so many topic filters count as one message towards message_rate


class MqttService:
    """See the module's text."""

    __slots__ = ("_device", "_inbound", "_publish_topic", "_topic", "_write", "_wrong_topics")
    _log = Logger()

    def __init__(
        self,
        device: Device,
        write: Callable[[Packet], None],
        publish_topic: Callable[[], str],
    ) -> None:
        """
        Args:
            publish_topic: the one that devices are to publish to.
        """
        self._device = device
        self._write = write
        self._publish_topic = publish_topic
        self._topic = device.peer.identity.topic
        self._inbound = Inbound()
        self._wrong_topics = 0

    def take(self, packet: Packet) -> None:
        """Any packet but DISCONNECT. What is over the device's limit is dropped, whatever it is.

        Raises:
            MqttError: it must not come now, or not from a client.
        """
        if isinstance(packet, Publish):
            self._take_publish(packet)
        elif self._within_limit(_cost(packet)):
            self._take_control(packet)

    def _take_control(self, packet: Packet) -> None:
        match packet:
            case Pingreq():
                self._write(Pingresp())  # MQTT-3.12.4-1
            case Subscribe(packet_id, filters):
                # MQTT-3.8.4-2, MQTT-3.8.4-5, MQTT-3.9.3-1: one code per filter, in order. We
                # publish at QoS 0 only (MQTT-3.8.4-6).
                codes = tuple(0 if f == self._topic else SUBSCRIBE_FAILURE for f, _ in filters)
                self._write(Suback(packet_id, codes))
            case Unsubscribe(packet_id, _):
                self._write(Unsuback(packet_id))  # MQTT-3.10.4-4, MQTT-3.10.4-5
            case Pubrel():
                self._write(self._inbound.release(packet))
            case Puback() | Pubrec() | Pubcomp():
                pass  # for nothing of ours: we publish at QoS 0 only
            case Connect():
                raise MqttError("[MQTT-3.1.0-2] a second CONNECT")
            case _:
                name = type(packet).__name__.upper()
                raise MqttError(f"[MQTT-4.8.0-1] {name} is for servers to send")

    def _take_publish(self, packet: Publish) -> None:
        answer, deliver = self._inbound.take(packet)
        if answer is not None:
            self._write(answer)
        if not deliver:
            self._within_limit(1)
            return
        # A publish that is not ours to take is acknowledged all the same, MQTT-3.3.5-2.
        if packet.topic == self._publish_topic():
            self._device.received(packet.payload)
        else:
            self._wrong_topic(packet)

    def _within_limit(self, cost: int) -> bool:
        return self._device.intake.within_limit(cost, self._device.seen_at)

    def _wrong_topic(self, packet: Publish) -> None:
        self._device.misplaced(packet.topic, packet.payload)
        self._wrong_topics += 1
        if self._wrong_topics == 1:
            self._log.warn(
                "{name}: dropping publishes on {topic!r}, which is not publish_topic"
                " (further ones are not logged)",
                name=self._device.peer.client_id,
                topic=packet.topic[:100],
            )


def _cost(packet: Packet) -> int:
    """How many messages it counts as."""
    if isinstance(packet, Subscribe | Unsubscribe):
        return 1 + len(packet.filters) // FILTERS_A_MESSAGE
    return 1
