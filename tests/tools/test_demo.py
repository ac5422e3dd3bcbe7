"""`make demo`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from xzgw.config import key_weakness
from xzgw.tools.demo import Demo, free_ports, throwaway_key
from xzgw.tools.steps import StepError


class DemoTests(TestCase):
    """The whole demo, and the demo with gateways that are none."""

    async def test_passes(self) -> None:
        """It shows the conversation, reports no loss and ends with 0, in a foreign setting too."""
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        # None of this may reach the demo's gateway.
        environ |= {"MQTT_PORT": "1", "XZGW_CONFIG": "/nowhere", "PUBLIC_IP": "192.0.2.1"}
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ["-m", "xzgw.tools.demo"], environ
        )
        output = out.decode() + err.decode()
        self.assertEqual(status, 0, output)
        for part in (
            "device  -> hello",
            "device  <- hello, session",
            "server  <- hello",
            "device  <- stt I heard 64 packets of audio.",
            "server  <- mcp result of self.get_device_status",
            "sent 64   returned 64   lost 0",
            "there and back",
            "gateway stopped with exit status 0",
            "PASSED",
        ):
            self.assertIn(part, output)

    async def fault(self, code: str) -> str:
        """How the demo fails with this Python code in the gateway's place."""
        directory = Path(self.mktemp())
        directory.mkdir()
        demo = Demo(reactor, directory, self.said.append, [sys.executable, "-c", code])
        try:
            await demo.run()
        except StepError as e:
            return str(e)
        raise self.failureException("the demo did not fail")

    def setUp(self) -> None:
        self.said: list[Any] = []

    async def test_gateway_dies(self) -> None:
        """A gateway that ends at once is a fault, and its last words are shown."""
        fault = await self.fault("import sys; print('last words'); sys.exit(7)")
        self.assertEqual(fault, "starting the gateway: it ended with status 7")
        self.assertEqual(self.said[-2:], ["gateway's last log lines:", "  last words"])

    async def test_ports_taken(self) -> None:
        """When another process took a port, other ports are tried, three times in all."""
        fault = await self.fault("raise SystemExit('Address already in use')")
        self.assertIn("it ended with status 1", fault)
        self.assertEqual(len([line for line in self.said if "gateway starts" in line]), 3)

    def test_ports(self) -> None:
        """The ports differ where they could clash."""
        ports = free_ports()
        self.assertNotEqual(ports.mqtt, ports.api)
        self.assertTrue(all(0 < port < 65536 for port in (ports.mqtt, ports.api, ports.udp)))

    def test_key(self) -> None:
        """The demo's key is strong, and another one each time."""
        self.assertIsNone(key_weakness(throwaway_key()))
        self.assertNotEqual(throwaway_key(), throwaway_key())
