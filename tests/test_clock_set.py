"""The machine's clock is set while the gateway runs: forward as after a boot without a battery, or
back. Nobody is to notice.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.api_support import HOST
from tests.raw_device import RawDevice
from tests.support import PATH, ROOT, GatewayProcess, read_to_end
from xzgw.wire.packets import Pingreq, Pingresp

HOUR = 3600
PATIENCE = 30.0  # s
# Imported by Python before anything else: time.time() as it is on a machine whose clock is set to
# be that much ahead.
SITE = """
import os, time
real = time.time
def set_time():
    return real() + float(open(os.environ["CLOCK_AHEAD"]).read())
time.time = set_time
"""


class ClockTests(SynchronousTestCase):
    """One gateway process, and a device that is connected."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(SITE)
        self.ahead = directory / "ahead"
        self.set_clock(0)
        settings = {
            "CHAT_SERVERS": "ws://127.0.0.1:9" + PATH,
            "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}",
            "CLOCK_AHEAD": str(self.ahead),
            "XZGW_MAX_UNAUTHENTICATED": "1",
        }
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)
        self.device = RawDevice((HOST, self.gateway.mqtt_port), 1)
        self.addCleanup(self.device.socket.close)
        self.device.socket.settimeout(PATIENCE)
        self.assertEqual(self.device.log_in(), 0)

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        self.assertNotIn("Traceback", self.gateway.log)

    def set_clock(self, ahead: float) -> None:
        new = self.ahead.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self.ahead)

    def connection(self) -> socket.socket:
        """One that says nothing."""
        connection = socket.create_connection((HOST, self.gateway.mqtt_port), PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def ask(self) -> None:
        """The device asks whether the gateway is there, and is answered."""
        self.device.send(Pingreq())
        self.device.next(Pingresp)

    def test_forward(self) -> None:
        """No device has been silent for an hour only because the clock says so."""
        self.set_clock(HOUR)
        for _ in range(3):
            self.ask()
        self.assertNotIn("disconnect: ", self.gateway.log)

    def test_back(self) -> None:
        """What has only so much time has no hour more."""
        self.connection()
        beyond_limit = self.connection()  # 2 s to ask
        self.ask()  # both are accepted by now
        self.set_clock(-HOUR)
        self.assertEqual(read_to_end(beyond_limit), b"")
        self.ask()
