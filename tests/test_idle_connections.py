"""Many devices at a time, and what each of them costs; README tells users the same bounds."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATH, ROOT, GatewayProcess
from xzgw.wire import messages
from xzgw.wire.packets import Pingreq, Pingresp, Publish

DEVICES = 5_000  # that are held at a time
FEWER = 400  # of those that are dearer to make
BATCH = 200
# KiB of the gateway's memory, a third above what it is.
IDLE = 8.5
IDLE_TLS = 40.0
STRANGER = 24.0  # who has not shown credentials
STRANGER_TLS = 120.0
SESSION = 24.0  # besides that of the connection
SESSION_TLS = 85.0  # the same with a chat server at wss://
LISTEN = "interface=127.0.0.1:backlog=1000"
SETTINGS = {
    "CHAT_SERVERS": "ws://127.0.0.1:9" + PATH,
    "XZGW_MQTT": f"tcp:0:{LISTEN}",
    "XZGW_MAX_CONNECTS_PER_SECOND": "100000",
    "XZGW_PROBE_SILENT": "no",  # nothing at all passes while the memory is measured
}


def without_tools(device: RawDevice) -> None:
    """Answer the gateway's question as a device without MCP, so that it asks no more."""
    payload = messages.parse(device.next(Publish).payload)["payload"]
    reply = {"jsonrpc": "2.0", "id": payload["id"], "error": {"message": "Unknown method"}}
    device.say({"type": "mcp", "session_id": "", "payload": reply})


class CrowdTestCase(SynchronousTestCase):
    """On this very machine, over real TCP."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.devices: list[RawDevice] = []

    def tearDown(self) -> None:
        for device in self.devices:
            device.socket.close()

    def start(self, **settings: str) -> GatewayProcess:
        """A gateway whose soft limit is too low at first."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            gateway = GatewayProcess(Path(self.mktemp()), {**SETTINGS, **settings})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.addCleanup(gateway.kill)
        return gateway

    def connect(self, port: int, count: int, tls: ssl.SSLContext | None = None) -> None:
        """Each gets its CONNACK; a batch at a time, as the queue for connections is bounded."""
        for first in range(len(self.devices), len(self.devices) + count, BATCH):
            batch = [RawDevice(("127.0.0.1", port), n) for n in range(first, first + BATCH)]
            self.devices += batch
            for device in batch:
                self.log_in(device, tls)

    def log_in(self, device: RawDevice, tls: ssl.SSLContext | None) -> None:
        if tls is not None:
            device.socket = tls.wrap_socket(device.socket, server_hostname="localhost")
        self.assertEqual(device.log_in(), 0)
        without_tools(device)

    def converse(self, devices: list[RawDevice]) -> None:
        """Each opens a session."""
        for first in range(0, len(devices), BATCH):
            batch = devices[first : first + BATCH]
            for device in batch:
                device.say(HELLO)
            for device in batch:
                device.told("hello")

    def assertGrown(self, gateway: GatewayProcess, before: float, what: str, most: float) -> None:
        """The gateway's memory has grown by so many KiB for each device but those of the first
        batch, with which everything is made that is made once."""
        count = len(self.devices) - BATCH
        each = (gateway.memory() - before) / count
        sys.stdout.write(f"\n{count} {what}: {each:.1f} KiB each\n")
        self.assertLess(each, most)

    def assertStops(self, gateway: GatewayProcess) -> None:
        self.assertEqual(gateway.stop(signal.SIGTERM), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, gateway.log)


class IdleTests(CrowdTestCase):
    """Devices that say nothing."""

    def test_held(self) -> None:
        """All are let in and answered, the memory is bounded, and all are let go at the end."""
        gateway = self.start()
        self.connect(gateway.mqtt_port, BATCH)
        before = gateway.memory()
        self.connect(gateway.mqtt_port, DEVICES - BATCH)
        self.assertGrown(gateway, before, "idle devices", IDLE)
        for device in self.devices:
            device.send(Pingreq())
        for device in self.devices:
            device.next(Pingresp)
        self.assertStops(gateway)

    def test_tls(self) -> None:
        """With TLS it is bounded as well."""
        authority = Authority(self.mktemp())
        key = Path(authority.certificate("localhost")).absolute()
        gateway = self.start(XZGW_MQTT=f"ssl:0:privateKey={key}:{LISTEN}")
        tls = ssl.create_default_context(cafile=authority.path)
        self.connect(gateway.mqtt_port, BATCH, tls)
        before = gateway.memory()
        self.connect(gateway.mqtt_port, FEWER, tls)
        self.assertGrown(gateway, before, "idle devices with TLS", IDLE_TLS)
        self.assertStops(gateway)


class StrangerTests(CrowdTestCase):
    """Connections that say as much as they may, and not who they are."""

    def check(
        self, what: str, sent: bytes, most: float, listen: str, tls: ssl.SSLContext | None = None
    ) -> None:
        """Each takes no more than so many KiB; none is cut off for it, and devices are let in."""
        gateway = self.start(XZGW_MQTT=listen)
        port = gateway.mqtt_port
        strangers = self.knock(BATCH, port, sent)
        self.let_in(port, tls)
        before = gateway.memory()
        strangers += self.knock(FEWER, port, sent)
        self.let_in(port, tls)
        each = (gateway.memory() - before) / FEWER
        sys.stdout.write(f"\n{FEWER} {what}: {each:.1f} KiB each\n")
        self.assertLess(each, most)
        self.assertEqual(select.select(strangers, [], [], 0)[0], [])
        self.assertStops(gateway)

    def let_in(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Let in a device, which comes after all who are there."""
        self.devices.append(RawDevice(("127.0.0.1", port), len(self.devices)))
        self.log_in(self.devices[-1], tls)

    def knock(self, count: int, port: int, sent: bytes) -> list[socket.socket]:
        """Connect so often, and send this."""
        made = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port))
            self.addCleanup(connection.close)
            connection.sendall(sent)
            made.append(connection)
        return made

    def test_plain(self) -> None:
        """The most of a CONNECT that is waited for."""
        sent = b"\x10\x80\x80\x01" + bytes(16_000)
        self.check("unfinished CONNECTs", sent, STRANGER, f"tcp:0:{LISTEN}")

    def test_tls(self) -> None:
        """The most of a ClientHello."""
        authority = Authority(self.mktemp())
        key = Path(authority.certificate("localhost")).absolute()
        tls = ssl.create_default_context(cafile=authority.path)
        sent = b"\x16\x03\x01\x40\x00\x01\x01\x00\x00" + bytes(16_000)
        listen = f"ssl:0:privateKey={key}:{LISTEN}"
        self.check("unfinished ClientHellos", sent, STRANGER_TLS, listen, tls)


class SessionTests(CrowdTestCase):
    """Devices with a session each."""

    def chat_server(self, *command: str) -> str:
        """A server in a process of its own; its URL."""
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process.stdout.readline().removeprefix("echo server: ").strip()

    def check(self, what: str, most: float, **settings: str) -> None:
        """Open sessions with this gateway; each takes no more than so many KiB."""
        gateway = self.start(**settings)
        self.connect(gateway.mqtt_port, BATCH + FEWER)
        self.converse(self.devices[:BATCH])
        before = gateway.memory()
        self.converse(self.devices[BATCH:])
        self.assertGrown(gateway, before, what, most)
        self.assertStops(gateway)

    def test_sessions(self) -> None:
        """What a session takes in addition is bounded."""
        server = self.chat_server("xzgw.tools.echo_server", "--port", "0")
        self.check("sessions", SESSION, CHAT_SERVERS=server)

    def test_tls(self) -> None:
        """At wss:// it is bounded as well."""
        authority = Authority(self.mktemp())
        key = str(Path(authority.certificate("localhost")).absolute())
        server = self.chat_server("tests.echo_over_tls", key)
        authorities = str(Path(authority.path).absolute())
        settings = {"CHAT_SERVERS": server, "XZGW_BACKEND_CA": authorities}
        self.check("sessions at wss://", SESSION_TLS, **settings)
