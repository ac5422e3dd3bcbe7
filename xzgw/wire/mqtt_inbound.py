"""Acknowledging what a client publishes, MQTT 3.1.1 section 4.3, receiver's side."""

from __future__ import annotations

from xzgw.wire.mqtt_fields import MqttError
from xzgw.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

MAX_INFLIGHT = 1024  # QoS 2 publishes whose PUBREL is missing


class Inbound:
    """One connection's publishes on their way in."""

    __slots__ = ("_inflight",)

    def __init__(self) -> None:
        # QoS 2 packet ids; a set would take three times as much while it is empty, as it mostly is.
        self._inflight: dict[int, None] = {}

    def take(self, publish: Publish) -> tuple[Puback | Pubrec | None, bool]:
        """What to answer, and whether the message is to be delivered: QoS 2 comes only once.

        Raises:
            MqttError: too many QoS 2 publishes are not released.
        """
        if publish.qos == 0:
            return None, True
        if publish.qos == 1:
            return Puback(publish.packet_id), True  # MQTT-4.3.2-2
        again = publish.packet_id in self._inflight
        if not again and len(self._inflight) >= MAX_INFLIGHT:
            raise MqttError(f"more than {MAX_INFLIGHT} QoS 2 publishes without PUBREL")
        self._inflight[publish.packet_id] = None
        return Pubrec(publish.packet_id), not again  # MQTT-4.3.3-2

    def release(self, pubrel: Pubrel) -> Pubcomp:
        """What to answer to the client's release of a QoS 2 publish, known or not."""
        self._inflight.pop(pubrel.packet_id, None)
        return Pubcomp(pubrel.packet_id)  # MQTT-4.3.3-2
