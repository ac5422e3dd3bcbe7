"""`twistd -n xzgw` with TLS on all sides: devices, admin API, chat servers."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.stream_device import HELLO, StreamDevice, open_tls
from tests.support import PATH, PATIENCE, ChatServer, GatewayProcess


class TlsTestCase(SynchronousTestCase):
    """An authority, and a certificate of it for this machine."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.file = str(Path(self.authority.certificate("localhost")).absolute())

    def gateway(self, **settings: str) -> GatewayProcess:
        gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(gateway.kill)
        self.addCleanup(self._stops, gateway)
        return gateway

    def _stops(self, gateway: GatewayProcess) -> None:
        self.assertEqual(gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, gateway.log)

    def chat_server(self, certificate: str = "") -> ChatServer:
        """One with TLS if it has a certificate."""
        options = {}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            options["ssl"] = context
        chat = ChatServer(**options)
        self.addCleanup(chat.close)
        return chat


class ListenTests(TlsTestCase):
    """Devices and the admin API."""

    def setUp(self) -> None:
        super().setUp()
        self.chat = self.chat_server()
        endpoint = f"ssl:0:privateKey={self.file}:interface=127.0.0.1"
        self.running = self.gateway(
            CHAT_SERVERS=self.chat.url, XZGW_MQTT=endpoint, XZGW_API=endpoint
        )

    def test_device(self) -> None:
        """A device has a session through TLS."""
        device = StreamDevice(open_tls(self.running.mqtt_port, self.authority.path))
        self.addCleanup(device.close)
        device.say(HELLO)
        self.chat.greet("by tls")
        self.running.wait_for("session start: .* session=by tls ")

    def test_api(self) -> None:
        """The admin API is at https://."""
        port = self.running.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1]
        context = ssl.create_default_context(cafile=self.authority.path)
        url = f"https://localhost:{port}/healthz"
        with urlopen(url, timeout=PATIENCE, context=context) as answer:
            self.assertEqual(answer.status, 200)

    def test_reload(self) -> None:
        """On SIGHUP certificates and configuration are read again; nobody is disconnected."""
        port = self.running.mqtt_port
        device = StreamDevice(open_tls(port, self.authority.path))
        self.addCleanup(device.close)
        other = Authority(self.mktemp(), "another authority")
        shutil.copy(other.certificate("localhost"), self.file)
        self.assertRaises(ssl.SSLError, open_tls, port, other.path)
        self.running.lines.clear()
        self.running.send(signal.SIGHUP)
        self.running.wait_for("SIGHUP: reading certificates and configuration again")
        self.running.wait_for(f"certificate {self.file} for localhost, valid until")
        self.running.wait_for("configuration read again from the environment")
        new = StreamDevice(open_tls(port, other.path), 2)
        self.addCleanup(new.close)
        new.ping()
        device.ping()
        Path(self.file).write_text("broken")
        self.running.send(signal.SIGHUP)
        self.running.wait_for("certificate not taken, the old one stays: .* no private key")
        open_tls(port, other.path).close()
        device.ping()


class StartTests(TlsTestCase):
    """What keeps it from starting."""

    def test_no_certificate(self) -> None:
        """Without its certificate it ends, with one line."""
        for files, words in (
            ("/nonexistent/key.pem", "/nonexistent/key.pem: cannot be read: No such file"),
            (str(Path(self.authority.path).absolute()), "no private key in PEM form"),
        ):
            endpoint = f"ssl:0:privateKey={files}:interface=127.0.0.1"
            settings = {"CHAT_SERVERS": "ws://127.0.0.1:1" + PATH, "XZGW_MQTT": endpoint}
            gateway = GatewayProcess(Path(self.mktemp()), settings)
            self.addCleanup(gateway.kill)
            self.assertEqual(gateway.ended(), 1)
            line = gateway.wait_for("cannot listen for MQTT at .*")[0]
            self.assertIn(f"{endpoint}: ", line)
            self.assertIn(words, line)
            self.assertNotIn("Traceback", gateway.log)


class BackendTests(TlsTestCase):
    """wss://"""

    def device(self, gateway: GatewayProcess) -> StreamDevice:
        """One that has said hello."""
        address = ("127.0.0.1", gateway.mqtt_port)
        device = StreamDevice(socket.create_connection(address, PATIENCE))
        self.addCleanup(device.close)
        device.say(HELLO)
        return device

    def test_private_authority(self) -> None:
        """With a private authority named, its servers are believed."""
        chat = self.chat_server(self.file)
        gateway = self.gateway(
            CHAT_SERVERS=f"wss://localhost:{chat.port}{PATH}",
            XZGW_BACKEND_CA=str(Path(self.authority.path).absolute()),
        )
        self.device(gateway)
        chat.greet("by wss")
        gateway.wait_for("session start: .* session=by wss ")

    def test_refused(self) -> None:
        """Otherwise the log says what is wrong with them, and SIGHUP takes other authorities."""
        chat = self.chat_server(self.file)
        bundle = Path(self.mktemp()).absolute()
        bundle.write_bytes(Authority(self.mktemp(), "another authority").pem)
        gateway = self.gateway(
            CHAT_SERVERS=f"wss://localhost:{chat.port}{PATH}", XZGW_BACKEND_CA=str(bundle)
        )
        device = self.device(gateway)
        gateway.wait_for("certificate chain of 'test server' cannot be verified: its issuer")
        bundle.write_text("broken")
        gateway.send(signal.SIGHUP)
        gateway.wait_for("not taken, the old one stays: .*BACKEND_CA: .*no certificate in PEM form")
        bundle.write_bytes(self.authority.pem)
        gateway.lines.clear()
        gateway.send(signal.SIGHUP)
        gateway.wait_for("configuration read again")
        device.say(HELLO)
        chat.greet("after all")
        gateway.wait_for("session start: .* session=after all ")
