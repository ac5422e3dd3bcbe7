"""`python -m xzgw.tools.doctor --offline`."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.support import GatewayProcess
from tests.tools.doctor.test_main import child_environ
from tests.tools.doctor.test_visit import closed_port
from xzgw.core.start_checks import drawback
from xzgw.tools.doctor.offline import look_around, name_notes, usual_address
from xzgw.tools.doctor.ports import is_our_api, speaks_mqtt

SERVER = "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway"
WELL = {
    "MQTT_SIGNATURE_KEY": "Kq7pLmZwRt",
    "CHAT_SERVERS": SERVER,
    "XZGW_MQTT": "tcp:0:interface=127.0.0.1",
    "XZGW_UDP": "127.0.0.1:0",
    "XZGW_API": "tcp:0:interface=127.0.0.1",
}


class OfflineTestCase(TestCase):
    """An empty directory; the report's lines are in `lines`."""

    timeout = 30

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.lines: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.lines).split())

    async def look(
        self, status: int, *words: str, file: str | None = None, **settings: str
    ) -> None:
        """The exit status, and words that the report must have."""
        self.lines.clear()
        environ = {**WELL, **settings}
        found = await look_around(reactor, environ, self.directory, file, 5, self.lines.append)
        self.assertEqual(found, status, "\n".join(self.lines))
        for each in words:
            self.assertIn(each, self.text)


class ConfigurationTests(OfflineTestCase):
    """What the configuration says."""

    async def test_well(self) -> None:
        """A whole configuration on free ports."""
        await self.look(0, "no file, environment alone", "127.0.0.1: found", "All is well")
        self.assertIn("MQTT at tcp:0:interface=127.0.0.1: free", self.text)
        self.assertNotIn(WELL["MQTT_SIGNATURE_KEY"], self.text)

    async def test_mistakes(self) -> None:
        """Each mistake is told with its place, and nothing is tried."""
        placeholder = "ws://<ip>:8000/?from=mqtt_gateway"
        await self.look(
            *(31, "FAILED 1 configuration: environment: CHAT_SERVERS", "placeholder"),
            *("UDP_PORT: found 'x'", "MQTT_SIGNATURE_KEY: found nothing"),
            CHAT_SERVERS=placeholder,
            UDP_PORT="x",
            MQTT_SIGNATURE_KEY="",
        )
        self.assertNotIn("chat servers", self.text)

    async def test_warnings(self) -> None:
        """What the gateway would say at its start is said here, and is no failure."""
        await self.look(
            *(0, "does not end with ?from=mqtt_gateway", "the admin API will not be started"),
            *("PUBLIC_IP: '172.17.0.2' is in Docker's own network", "with 3 warning(s)"),
            CHAT_SERVERS="ws://127.0.0.1:8000/",
            MQTT_SIGNATURE_KEY="weak",
            PUBLIC_IP="172.17.0.2",
        )
        self.assertNotIn("admin API at", self.text)

    async def test_file(self) -> None:
        """The file is the usual one, or the one named, with its mistakes and warnings."""
        (self.directory / "etc").mkdir()
        document = {"production": {"chat_servers": [SERVER]}}
        (self.directory / "etc" / "xzgw.json").write_text(json.dumps(document))
        await self.look(0, "etc/xzgw.json", CHAT_SERVERS="")
        other = self.directory / "other.json"
        other.write_text(json.dumps({"udp_port": "x", "tpyo": 1}))
        await self.look(31, "udp_port: found 'x'", "warning: other.json", file="other.json")

    async def test_names(self) -> None:
        """Chat servers and the public name are looked up."""
        chat = "ws://nowhere.invalid/?from=mqtt_gateway ws://127.0.0.1/?from=mqtt_gateway"
        await self.look(
            *(32, "FAILED 2 chat servers: nowhere.invalid:", "FAILED 3 address: nothing.invalid:"),
            CHAT_SERVERS=chat,
            PUBLIC_IP="nothing.invalid",
        )

    async def test_public_name(self) -> None:
        """A public name that leads to the loopback is told of once."""
        await self.look(0, "PUBLIC_IP: 'localhost' is the loopback", PUBLIC_IP="localhost")
        self.assertEqual(self.text.count("loopback"), 1)
        notes = name_notes("voice.example", ["203.0.113.7", "172.17.0.2"])
        self.assertEqual(len(notes), 1)
        self.assertIn("PUBLIC_IP voice.example is 172.17.0.2, which is in Docker's", notes[0])

    async def test_usual_address(self) -> None:
        """Without PUBLIC_IP it is told what devices get, if that cannot be right."""
        await self.look(0, "PUBLIC_IP is not set")
        own = usual_address()
        self.assertEqual("here that is likely" in self.text, bool(own and drawback(own)))


class PortTests(OfflineTestCase):
    """Ports that are free, taken, or somebody's."""

    def taken(self, kind: int) -> int:
        one = socket.socket(type=kind)
        self.addCleanup(one.close)
        one.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            one.listen()
            one.settimeout(5)
        return int(one.getsockname()[1])

    async def test_taken(self) -> None:
        """A port of another program is named, with what tells whose it is."""
        tcp, udp = self.taken(socket.SOCK_STREAM), self.taken(socket.SOCK_DGRAM)
        environ: dict[str, Any] = {**WELL, "XZGW_UDP": f"127.0.0.1:{udp}"}
        environ["XZGW_MQTT"] = f"tcp:{tcp}:interface=127.0.0.1"
        found = await look_around(reactor, environ, self.directory, None, 0.3, self.lines.append)
        self.assertEqual(found, 34)
        self.assertIn(f"FAILED 4 ports: MQTT at {environ['XZGW_MQTT']}: address", self.text)
        self.assertIn(f"ss -lnp 'sport = :{udp}'", self.text)
        self.assertIn("ok 5 UDP buffer", self.text)  # it goes on

    async def test_gateway(self) -> None:
        """Ports of a running gateway are in use as they should be, with a weak key too."""
        for key in ("Kq7pLmZwRt", "weak"):
            directory = Path(self.mktemp())
            chat = {"CHAT_SERVERS": SERVER, "MQTT_SIGNATURE_KEY": key}
            gateway = GatewayProcess(directory, chat)
            self.addCleanup(gateway.kill)
            mqtt = f"tcp:{gateway.mqtt_port}:interface=127.0.0.1"
            udp = gateway.wait_for(r"audio over UDP at (127\.0\.0\.1:\d+)")[1]
            await self.look(
                *(0, f"MQTT at {mqtt}: in use, by a gateway that runs here"),
                f"audio at {udp}/udp: in use, by a gateway that runs here",
                XZGW_MQTT=mqtt,
                XZGW_UDP=udp,
                MQTT_SIGNATURE_KEY=key,
            )
            self.assertEqual(gateway.stop(), 0)

    async def test_elsewhere(self) -> None:
        """Addresses of other machines, files that are missing, sockets of others."""
        await self.look(34, "No interface of this machine", XZGW_MQTT="tcp:0:interface=192.0.2.1")
        await self.look(34, "No interface of this machine", XZGW_UDP="192.0.2.1:0")
        await self.look(34, "check its path", XZGW_MQTT="ssl:0:privateKey=nowhere.pem")
        await self.look(31, "want an endpoint", XZGW_MQTT="tcp:0:nonsense=1")
        await self.look(0, "somebody else opens it", XZGW_UDP="fd:4", XZGW_MQTT="systemd:index=0")
        await self.look(0, "audio at *:0/udp: any free port", XZGW_UDP="0")

    async def test_wrapped(self) -> None:
        """Below PROXY and TLS there is a port like any other."""
        (self.directory / "k.pem").write_text("anything")
        port = self.taken(socket.SOCK_STREAM)
        tls = f"haproxy:ssl:{port}:privateKey=k.pem:interface=127.0.0.1"
        environ = {**WELL, "XZGW_MQTT": tls}
        found = await look_around(reactor, environ, self.directory, None, 0.3, self.lines.append)
        self.assertEqual(found, 34)
        self.assertIn(f"ss -lnp 'sport = :{port}'", self.text)

    def test_probes(self) -> None:
        """A probe of a port where nobody listens raises what the caller expects."""
        port = closed_port(socket.SOCK_STREAM)
        self.assertRaises(OSError, speaks_mqtt, "127.0.0.1", port, 1)
        self.assertRaises(OSError, is_our_api, "127.0.0.1", port, 1)


class OfflineCommandTests(OfflineTestCase):
    """The whole command."""

    async def test_command(self) -> None:
        """It needs no key, reads .env, and its status tells."""
        (self.directory / ".env").write_text("UDP_PORT=x\n")
        environ = child_environ(**{**WELL, "XZGW_UDP": ""})
        arguments = ["-m", "xzgw.tools.doctor", "--offline"]
        out, err, status = await getProcessOutputAndValue(
            sys.executable, arguments, environ, os.fspath(self.directory)
        )
        self.assertEqual(status, 31, out + err)
        self.assertIn(b".env: UDP_PORT", out)
        self.assertEqual(err, b"")
