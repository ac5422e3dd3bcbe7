"""mosquitto's own command line clients as devices. They come with Debian's mosquitto-clients."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from subprocess import PIPE

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosedOK

from tests.support import KEY, PATIENCE, ChatServer, GatewayProcess
from xzgw.tools.identity import Identity

IDENTITY = Identity(mac="a0:85:e3:f4:49:34")
TOPIC = "devices/p2p/a0_85_e3_f4_49_34"
VERSIONS = ("mqttv31", "mqttv311")
HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}
TEXTS = [f'{{"type":"listen","n":{n}, "text":"说"}}' for n in range(5)]


class MosquittoTests(SynchronousTestCase):
    """Each test has a gateway and a server of its own."""

    def setUp(self) -> None:
        self.chat = ChatServer()
        self.addCleanup(self.chat.close)
        self.gateway = GatewayProcess(Path(self.mktemp()), {"CHAT_SERVERS": self.chat.url})
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)  # trial runs this before the clean-ups above

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled"):
            self.assertNotIn(fault, self.gateway.log)

    def command(
        self, program: str, *arguments: str, version: str = "mqttv311", key: str = KEY
    ) -> list[str]:
        """One of mosquitto's clients, with the device's credentials."""
        credentials = IDENTITY.credentials(key)
        assert credentials.username is not None
        assert credentials.password is not None
        return [
            program,
            *("-h", "127.0.0.1", "-p", str(self.gateway.mqtt_port), "-V", version),
            *("-i", credentials.client_id, "-u", credentials.username),
            *("-P", credentials.password.decode("ascii"), *arguments),
        ]

    def run_client(
        self, program: str, *arguments: str, version: str = "mqttv311", key: str = KEY
    ) -> subprocess.CompletedProcess[str]:
        """Run a client until it ends."""
        command = self.command(program, *arguments, version=version, key=key)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
        )

    def test_publish(self) -> None:
        """Each QoS in both versions: a whole session, each line taken once and acknowledged, so
        that the client ends well."""
        for version in VERSIONS:
            for qos in ("0", "1", "2"):
                arguments = ("-t", "device-server", "-l", "-q", qos)
                command = self.command("mosquitto_pub", *arguments, version=version)
                with subprocess.Popen(command, stdin=PIPE, stderr=PIPE, text=True) as client:
                    self.addCleanup(client.kill)
                    assert client.stdin is not None
                    client.stdin.write(json.dumps(HELLO) + "\n")
                    client.stdin.flush()
                    theirs = self.chat.greet(version + qos)
                    self.gateway.wait_for(f"session start: .* session={version}{qos} ")
                    client.stdin.write("".join(f"{text}\n" for text in TEXTS))
                    client.stdin.flush()
                    self.assertEqual([theirs.recv(PATIENCE) for _ in TEXTS], TEXTS)
                    _, errors = client.communicate(timeout=PATIENCE)
                self.assertEqual((client.returncode, errors), (0, ""))
                with self.assertRaises(ConnectionClosedOK):
                    theirs.recv(PATIENCE)

    def test_wrong_password(self) -> None:
        """A wrong password is refused in words that mosquitto understands."""
        for version in VERSIONS:
            arguments = ("-t", "device-server", "-m", "{}")
            done = self.run_client("mosquitto_pub", *arguments, version=version, key="another Key")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("bad user name or password", done.stderr.lower())

    def test_malformed_client_id(self) -> None:
        """So is a client id of the wrong form."""
        done = self.run_client("mosquitto_pub", "-i", "nobody", "-t", "device-server", "-m", "{}")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("identifier rejected", done.stderr.lower())

    def test_subscribe(self) -> None:
        """The own topic is granted, and what the gateway asks each device about its tools arrives
        there."""
        for version in VERSIONS:
            for qos in ("0", "1", "2"):
                done = self.run_client(
                    "mosquitto_sub", "-t", TOPIC, "-q", qos, "-C", "1", "-W", "5", version=version
                )
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                message = json.loads(done.stdout)
                self.assertEqual(message["payload"]["method"], "initialize")

    def test_subscribe_to_others(self) -> None:
        """No other topic is granted, nor any wildcard; only what is its own reaches the device."""
        for topic in ("#", "devices/p2p/+", "devices/p2p/11_22_33_44_55_66", "null"):
            done = self.run_client("mosquitto_sub", "-t", topic, "-F", "%t", "-W", "5")
            self.assertIn("denied", done.stderr.lower())
            self.assertLessEqual(set(done.stdout.split()), {TOPIC})
