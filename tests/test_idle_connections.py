"""Thousands of devices that say nothing, and what they cost."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.raw_device import RawDevice
from tests.support import PATH, GatewayProcess
from xzgw.wire import messages
from xzgw.wire.packets import Pingreq, Pingresp, Publish

DEVICES = 5_000
BATCH = 250
MOST = 24.0  # KiB of the gateway's memory per device
SETTINGS = {
    "CHAT_SERVERS": "ws://127.0.0.1:9" + PATH,
    "XZGW_MQTT": "tcp:0:interface=127.0.0.1:backlog=1000",
    "XZGW_MAX_CONNECTS_PER_SECOND": "100000",
    "XZGW_PROBE_SILENT": "no",  # nothing at all passes while the memory is measured
}


def without_tools(device: RawDevice) -> None:
    """Answer the gateway's question as a device without MCP, so that it asks no more."""
    payload = messages.parse(device.next(Publish).payload)["payload"]
    reply = {"jsonrpc": "2.0", "id": payload["id"], "error": {"message": "Unknown method"}}
    device.say({"type": "mcp", "session_id": "", "payload": reply})


class IdleTests(SynchronousTestCase):
    """On this very machine, over real TCP."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.devices: list[RawDevice] = []

    def tearDown(self) -> None:
        for device in self.devices:
            device.socket.close()

    def start(self) -> GatewayProcess:
        """A gateway whose soft limit is too low at first."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            gateway = GatewayProcess(Path(self.mktemp()), SETTINGS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.addCleanup(gateway.kill)
        return gateway

    def connect(self, port: int, numbers: range) -> None:
        """Each gets its CONNACK; a batch at a time, as the queue for connections is bounded."""
        batch = [RawDevice(("127.0.0.1", port), number) for number in numbers]
        self.devices += batch
        for device in batch:
            self.assertEqual(device.log_in(), 0)
            without_tools(device)

    def test_held(self) -> None:
        """All are let in and answered, the memory is bounded, and all are let go at the end."""
        gateway = self.start()
        port = gateway.mqtt_port
        self.connect(port, range(BATCH))  # what is made once only is made by now
        before = gateway.memory()
        for first in range(BATCH, DEVICES, BATCH):
            self.connect(port, range(first, first + BATCH))
        each = (gateway.memory() - before) / (DEVICES - BATCH)
        sys.stdout.write(f"\n{DEVICES} idle devices: {each:.1f} KiB each\n")
        for device in self.devices:
            device.send(Pingreq())
        for device in self.devices:
            device.next(Pingresp)
        self.assertLess(each, MOST)
        self.assertEqual(gateway.stop(signal.SIGTERM), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, gateway.log)
