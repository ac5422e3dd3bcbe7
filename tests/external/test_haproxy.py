"""A real haproxy in front of the gateway. It comes with Debian's haproxy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.stream_device import HELLO, StreamDevice, open_tls
from tests.support import PATIENCE, ChatServer, GatewayProcess

# Debian has it where only root looks.
HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = """
global
    log stdout format raw local0
listen mqtt
    mode tcp
    log global
    option log-health-checks
    bind fd@{listener}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    server gateway {server} {options} check inter 50ms
"""


class Haproxy:
    """haproxy as a child process, at a socket that is open already."""

    def __init__(self, directory: Path, host: str, server: str, options: str) -> None:
        """
        Args:
            host: the address to listen at.
            server: where the gateway is, as haproxy spells it.
            options: how to talk to it.
        """
        assert HAPROXY is not None, "haproxy is not installed"
        directory.mkdir()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as listener:
            self.port: int = listener.getsockname()[1]
            number = listener.fileno()
            config = directory / "haproxy.cfg"
            config.write_text(CONFIG.format(listener=number, server=server, options=options))
            self._process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(config)],
                pass_fds=[number],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._output: list[str] = []
        self._checked = Event()
        self._reader = Thread(target=self._read)
        self._reader.start()

    def wait_for_check(self) -> None:
        """Wait until its health check has succeeded."""
        assert self._checked.wait(PATIENCE), "".join(self._output)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._output.append(line)
            if "Health check for server mqtt/gateway succeeded" in line:
                self._checked.set()


def tcp(gateway: GatewayProcess) -> str:
    """Where a gateway is, as haproxy spells it."""
    return f"127.0.0.1:{gateway.mqtt_port}"


class HaproxyTests(SynchronousTestCase):
    """Each test has a gateway and a server of its own."""

    def setUp(self) -> None:
        self.chat = ChatServer()
        self.addCleanup(self.chat.close)

    def gateway(self, endpoint: str) -> GatewayProcess:
        settings = {"CHAT_SERVERS": self.chat.url, "XZGW_MQTT": ""}
        gateway = GatewayProcess(Path(self.mktemp()), settings, flags=("--mqtt", endpoint))
        self.addCleanup(gateway.kill)
        self.addCleanup(self._stops, gateway)
        return gateway

    def _stops(self, gateway: GatewayProcess) -> None:
        self.assertEqual(gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled", "not through the proxy"):
            self.assertNotIn(fault, gateway.log)

    def proxy(self, server: str, options: str, host: str = "127.0.0.1") -> Haproxy:
        proxy = Haproxy(Path(self.mktemp()), host, server, options)
        self.addCleanup(proxy.close)
        proxy.wait_for_check()
        return proxy

    def told(self, connection: socket.socket, session_id: str) -> str:
        """Open a session: the device's address as the chat server is told."""
        device = StreamDevice(connection)
        self.addCleanup(device.close)
        device.say(HELLO)
        request = self.chat.greet(session_id).request
        assert request is not None
        return str(request.headers["x-forwarded-for"])

    def assertAddresses(self, gateway: GatewayProcess, server: str, options: str) -> None:
        """The device's own address arrives, of either family."""
        for host, source in (("127.0.0.1", "127.0.0.7"), ("::1", "::1")):
            proxy = self.proxy(server, options, host)
            connection = socket.create_connection(
                (host, proxy.port), PATIENCE, source_address=(source, 0)
            )
            session_id = f"{options} from {source}"
            self.assertEqual(self.told(connection, session_id), source)
            gateway.wait_for(f"connect: .* from {source} ")
            gateway.wait_for(f"session start: .* session={session_id} ")

    def test_version_1(self) -> None:
        """With the header as a line of text the device's own address arrives."""
        gateway = self.gateway("haproxy:tcp:0:interface=127.0.0.1")
        self.assertAddresses(gateway, tcp(gateway), "send-proxy")

    def test_version_2(self) -> None:
        """So it does with the binary header, with more in it or not; the proxy's health checks
        leave no trace."""
        gateway = self.gateway("haproxy:tcp:0:interface=127.0.0.1")
        for options in ("send-proxy-v2", "send-proxy-v2-ssl-cn"):
            self.assertAddresses(gateway, tcp(gateway), options)
        self.assertNotIn("no device: ", gateway.log)

    def test_unix(self) -> None:
        """So it does through a UNIX socket, which has no addresses of its own."""
        with TemporaryDirectory() as directory:  # the path in trial's is too long for a socket
            path = f"{directory}/mqtt.sock"
            gateway = self.gateway(f"haproxy:unix:{path}")
            gateway.wait_for(f"MQTT at {path}")
            for options in ("send-proxy", "send-proxy-v2"):
                self.assertAddresses(gateway, f"unix@{path}", options)
            self._stops(gateway)

    def test_tls_inside(self) -> None:
        """A proxy that passes TLS through sends its header before it."""
        authority = Authority(self.mktemp())
        key = Path(authority.certificate("localhost")).absolute()
        gateway = self.gateway(f"haproxy:ssl:0:privateKey={key}:interface=127.0.0.1")
        proxy = self.proxy(tcp(gateway), "send-proxy-v2")
        connection = open_tls(proxy.port, authority.path)
        self.assertEqual(self.told(connection, "tls inside"), "127.0.0.1")

    def test_tls_to_us(self) -> None:
        """So does one that speaks TLS to us itself."""
        authority = Authority(self.mktemp())
        key = Path(authority.certificate("localhost")).absolute()
        gateway = self.gateway(f"haproxy:ssl:0:privateKey={key}:interface=127.0.0.1")
        ca = Path(authority.path).absolute()
        options = f"ssl verify required ca-file {ca} verifyhost localhost send-proxy-v2"
        proxy = self.proxy(tcp(gateway), options)
        connection = socket.create_connection(
            ("127.0.0.1", proxy.port), PATIENCE, source_address=("127.0.0.9", 0)
        )
        self.assertEqual(self.told(connection, "tls to us"), "127.0.0.9")
