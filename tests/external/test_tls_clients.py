"""openssl's and mosquitto's command line clients at a TLS port."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from subprocess import PIPE

from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import Authority
from tests.stream_device import HELLO
from tests.support import KEY, PATIENCE, ChatServer, GatewayProcess
from xzgw.tools.identity import Identity
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connack, Pingreq, Pingresp

IDENTITY = Identity(mac="02:00:00:00:02:01")


class TlsClientTests(SynchronousTestCase):
    """Each test has a gateway with a certificate for localhost."""

    def setUp(self) -> None:
        self.authority = Authority(self.mktemp())
        self.file = str(Path(self.authority.certificate("localhost")).absolute())
        self.chat = ChatServer()
        self.addCleanup(self.chat.close)
        endpoint = f"ssl:0:privateKey={self.file}:interface=127.0.0.1"
        settings = {"CHAT_SERVERS": self.chat.url, "XZGW_MQTT": endpoint}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)  # trial runs this before the clean-ups above
        self.port = self.gateway.mqtt_port

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, self.gateway.log)

    def openssl(self, *arguments: str, ca: str = "") -> subprocess.CompletedProcess[str]:
        """`openssl s_client`, which leaves after the handshake."""
        return subprocess.run(
            [*self.s_client(ca or self.authority.path), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def s_client(self, ca: str) -> list[str]:
        where = f"127.0.0.1:{self.port}"
        return [
            *("openssl", "s_client", "-connect", where, "-servername", "localhost"),
            *("-verify_hostname", "localhost", "-verify_return_error", "-CAfile", ca),
        ]

    def mosquitto(self, ca: str, *arguments: str) -> subprocess.Popen[str]:
        """`mosquitto_pub` with the device's credentials."""
        credentials = IDENTITY.credentials(KEY)
        assert credentials.username is not None
        assert credentials.password is not None
        client = subprocess.Popen(
            [
                *("mosquitto_pub", "-h", "localhost", "-p", str(self.port)),
                *("--cafile", ca, "-i", credentials.client_id, "-u", credentials.username),
                *("-P", credentials.password.decode("ascii"), "-t", "device-server"),
                *arguments,
            ],
            stdin=PIPE,
            stderr=PIPE,
            text=True,
        )
        self.addCleanup(client.communicate)
        self.addCleanup(client.kill)
        return client

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3, with a certificate that is verified."""
        for flag, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            done = self.openssl(flag)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Verification: OK", done.stdout)
            self.assertIn(f"New, {name}, Cipher is ", done.stdout)

    def test_old_version(self) -> None:
        """TLS 1.1 is refused."""
        done = self.openssl("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("alert protocol version", done.stderr)
        done = self.openssl("-tls1_2", "-cipher", "ALL:@SECLEVEL=0")
        self.assertEqual(done.returncode, 0)

    def test_weak_cipher(self) -> None:
        """So are suites without forward secrecy or authenticated encryption."""
        for cipher in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"):
            done = self.openssl("-tls1_2", "-cipher", cipher)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("handshake failure", done.stderr)

    def test_publish(self) -> None:
        """mosquitto holds a whole session over TLS."""
        client = self.mosquitto(self.authority.path, "-l", "-q", "1")
        assert client.stdin is not None
        client.stdin.write(json.dumps(HELLO) + "\n")
        client.stdin.flush()
        theirs = self.chat.greet("mosquitto")
        self.gateway.wait_for("session start: .* session=mosquitto ")
        client.stdin.write('{"type":"listen"}\n')
        client.stdin.flush()
        self.assertEqual(theirs.recv(PATIENCE), '{"type":"listen"}')
        _, errors = client.communicate(timeout=PATIENCE)
        self.assertEqual((client.returncode, errors), (0, ""))

    def test_other_authority(self) -> None:
        """A client that trusts somebody else does not connect; the gateway serves the next."""
        other = Authority(self.mktemp(), "another authority")
        client = self.mosquitto(other.path, "-m", "{}")
        _, errors = client.communicate(timeout=2 * PATIENCE)
        self.assertNotEqual(client.returncode, 0)
        self.assertRegex(errors, "TLS error|certificate verify failed")
        self.gateway.wait_for("no device: .*unknown ca")
        client = self.mosquitto(self.authority.path, "-m", "{}")
        _, errors = client.communicate(timeout=2 * PATIENCE)
        self.assertEqual((client.returncode, errors), (0, ""))

    def test_exchange(self) -> None:
        """A new certificate on SIGHUP, while a connection stays that began with the old one."""
        command = [*self.s_client(self.authority.path), "-quiet"]
        old = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        self.addCleanup(old.communicate)
        self.addCleanup(old.kill)
        assert old.stdin is not None
        assert old.stdout is not None
        old.stdin.write(encode(IDENTITY.credentials(KEY)))
        old.stdin.flush()
        connack = encode(Connack(0))
        self.assertEqual(old.stdout.read(len(connack)), connack)
        other = Authority(self.mktemp(), "another authority")
        self.assertNotEqual(self.openssl(ca=other.path).returncode, 0)
        shutil.copy(other.certificate("localhost"), self.file)
        self.gateway.lines.clear()
        self.gateway.send(signal.SIGHUP)
        self.gateway.wait_for(f"certificate {self.file} for localhost, valid until")
        done = self.openssl(ca=other.path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, "issuer=CN ?= ?another authority")
        self.assertNotEqual(self.openssl().returncode, 0)
        old.stdin.write(encode(Pingreq()))
        old.stdin.flush()
        received = b""
        while encode(Pingresp()) not in received:
            byte = old.stdout.read(1)
            self.assertTrue(byte, "closed")
            received += byte
