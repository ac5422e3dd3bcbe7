"""`make run`: what it finds missing, and the gateway on the echo server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from socket import socket

from twisted.internet import reactor
from twisted.internet.interfaces import IProcessTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.tools.child import Child
from xzgw.config import key_weakness
from xzgw.tools.identity import Identity
from xzgw.tools.run import banner, missing
from xzgw.tools.simulated import SimulatedDevice

KEY = "Kq7pLmZwRt"
SERVER = "ws://192.0.2.1:8000/xiaozhi/v1/?from=mqtt_gateway"


class MissingTests(SynchronousTestCase):
    """What has to be added to run at all."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def added(self, **environ: str) -> dict[str, str]:
        config, added = missing(environ, self.directory)
        self.assertNotEqual(config.production_servers, ())
        return added

    def test_nothing(self) -> None:
        """A whole configuration runs as it is, wherever it stands."""
        self.assertEqual(self.added(CHAT_SERVERS=SERVER, MQTT_SIGNATURE_KEY=KEY), {})
        (self.directory / "config").mkdir()
        config = {"production": {"chat_servers": [SERVER]}}
        (self.directory / "config" / "mqtt.json").write_text(json.dumps(config))
        (self.directory / ".env").write_text(f"MQTT_SIGNATURE_KEY={KEY}\n")
        self.assertEqual(self.added(), {})

    def test_server(self) -> None:
        """Without a chat server it is the echo server, with the user's own key."""
        self.assertEqual(list(self.added(MQTT_SIGNATURE_KEY=KEY)), ["CHAT_SERVERS"])
        (self.directory / ".env").write_text(f"MQTT_SIGNATURE_KEY={KEY}\n")
        self.assertEqual(list(self.added()), ["CHAT_SERVERS"])

    def test_all(self) -> None:
        """With nothing at all there is a strong throw-away key too."""
        added = self.added()
        self.assertEqual(sorted(added), ["CHAT_SERVERS", "MQTT_SIGNATURE_KEY"])
        self.assertIsNone(key_weakness(added["MQTT_SIGNATURE_KEY"]))

    def test_key_alone(self) -> None:
        """With a chat server but no key nothing can be added: only its owner knows the key."""
        error = self.assertRaises(SystemExit, missing, {"CHAT_SERVERS": SERVER}, self.directory)
        self.assertIn("MQTT_SIGNATURE_KEY", str(error.code))

    def test_other_mistakes(self) -> None:
        """Other mistakes are told, and the missing server is not among them."""
        environ = {"MQTT_PORT": "x", "MQTT_SIGNATURE_KEY": KEY}
        error = self.assertRaises(SystemExit, missing, environ, self.directory)
        (problem,) = str(error.code).splitlines()
        self.assertIn("MQTT_PORT", problem)

    def test_banner(self) -> None:
        """The banner is loud, and shows no key but a throw-away one."""
        config, added = missing({"MQTT_SIGNATURE_KEY": KEY}, self.directory)
        text = banner(config, "ws://echo/", added)
        self.assertIn("NO CHAT SERVER IS CONFIGURED", text)
        self.assertIn("ws://echo/", text)
        self.assertNotIn(KEY, text)
        config, added = missing({}, self.directory)
        self.assertIn(added["MQTT_SIGNATURE_KEY"], banner(config, "ws://echo/", added))


class RunTests(TestCase):
    """The whole command."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]
        directory = self.mktemp()
        os.mkdir(directory)
        self.directory = directory
        self.child = Child()

    def start(self, **settings: str) -> IProcessTransport:
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XZGW_MQTT": "tcp:0:interface=127.0.0.1",
            "XZGW_API": "tcp:0:interface=127.0.0.1",
            "XZGW_UDP": "127.0.0.1:0",
            **settings,
        }
        command = [sys.executable, "-m", "xzgw.tools.run"]
        process: IProcessTransport = reactor.spawnProcess(
            self.child, sys.executable, command, environ, self.directory
        )
        self.addCleanup(self.child.end, process)
        return process

    async def device(self, key: str) -> SimulatedDevice:
        """A device that is connected to the gateway that was started."""
        listening = r"MQTT at 127\.0\.0\.1:(\d+)\n"
        port = int((await self.child.shows(listening))[1])
        device = SimulatedDevice(reactor, Identity(), key)
        await device.connect("127.0.0.1", port)
        return device

    async def test_echo(self) -> None:
        """Without configuration the gateway runs on the echo server, says so, and works."""
        process = self.start()
        key = (await self.child.shows(r"MQTT_SIGNATURE_KEY=(\S+) python -m xzgw.tools.device"))[1]
        device = await self.device(key)
        await device.hello()
        process.signalProcess("TERM")
        await device.expect("goodbye")
        await device.gone()
        self.assertEqual(await self.child.ended, 0, self.child.output)
        self.assertIn("NO CHAT SERVER IS CONFIGURED", self.child.output)
        self.assertNotIn("Traceback", self.child.output)

    async def test_configured(self) -> None:
        """With a configuration it is the gateway alone."""
        process = self.start(CHAT_SERVERS=SERVER, MQTT_SIGNATURE_KEY=KEY)
        device = await self.device(KEY)
        process.signalProcess("TERM")
        await device.gone()
        self.assertEqual(await self.child.ended, 0, self.child.output)
        self.assertNotIn("NO CHAT SERVER", self.child.output)

    async def test_gateway_ends(self) -> None:
        """When the gateway cannot start, the status tells, and the echo server ends too."""
        with socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            self.start(XZGW_MQTT=endpoint)
            self.assertEqual(await self.child.ended, 1, self.child.output)

    async def test_mistakes(self) -> None:
        """A mistake in the configuration is told, and nothing runs."""
        self.start(UDP_PORT="x")
        self.assertEqual(await self.child.ended, 1, self.child.output)
        self.assertIn("UDP_PORT", self.child.output)
        self.assertNotIn("NO CHAT SERVER", self.child.output)
