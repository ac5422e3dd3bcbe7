"""xzgw.core.mqtt_service: the rest of it is seen in tests/net/test_device.py."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.core.phones import Phone, Switchboard, connect_of
from xzgw.core.mqtt_service import MqttService
from xzgw.wire.packets import Packet, Puback, Publish


class ServiceTests(SynchronousTestCase):
    """One device's packets."""

    def test_topic_in_the_log(self) -> None:
        """A topic of any length takes little room in the log, once for all such messages."""
        board = Switchboard()
        self.addCleanup(board.gateway.stop, "end of the test")
        device = Phone(board, connect_of(1)).device
        answers: list[Packet] = []
        service = MqttService(device, answers.append, lambda: "device-server")
        with capturedLogs() as logs:
            for number in range(1, 4):
                service.take(Publish("t" * 60_000, b"{}", 1, packet_id=number))
        self.assertEqual(answers, [Puback(1), Puback(2), Puback(3)])
        (line,) = [event for event in logs if event["log_level"] is LogLevel.warn]
        self.assertEqual(line["topic"], "t" * 100)
