"""mosquitto's own command line clients as devices. They come with Debian's mosquitto-clients."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

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

    def run_client(
        self, program: str, *arguments: str, version: str = "mqttv311", key: str = KEY
    ) -> subprocess.CompletedProcess[str]:
        """Run one of mosquitto's clients with the device's credentials until it ends."""
        credentials = IDENTITY.credentials(key)
        assert credentials.username is not None
        assert credentials.password is not None
        return subprocess.run(
            [
                program,
                *("-h", "127.0.0.1", "-p", str(self.gateway.mqtt_port), "-V", version),
                *("-i", credentials.client_id, "-u", credentials.username),
                *("-P", credentials.password.decode("ascii"), *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def publish(
        self, message: str, qos: int = 0, version: str = "mqttv311", key: str = KEY
    ) -> subprocess.CompletedProcess[str]:
        arguments = ("-t", "device-server", "-m", message, "-q", str(qos))
        return self.run_client("mosquitto_pub", *arguments, version=version, key=key)

    def test_publish(self) -> None:
        """Each QoS in both versions: acknowledged, so that the client ends well, and taken, so
        that the server is dialled once for each."""
        for version in VERSIONS:
            for qos in (0, 1, 2):
                done = self.publish(json.dumps(HELLO), qos, version)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.gateway.wait_for(f"disconnect: {IDENTITY.client_id}: device sent DISCONNECT")
                # The device is gone before its server answers, or even gets the hello.
                self.gateway.lines.clear()

    def test_wrong_password(self) -> None:
        """A wrong password is refused in words that mosquitto understands."""
        for version in VERSIONS:
            done = self.publish("{}", 0, version, key="another Key 5")
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
        """No other topic is granted, nor any wildcard."""
        for topic in ("#", "devices/p2p/+", "devices/p2p/11_22_33_44_55_66", "null"):
            done = self.run_client("mosquitto_sub", "-t", topic, "-C", "9", "-W", "5")
            self.assertNotEqual(done.returncode, 0, topic)
            self.assertIn("denied", done.stderr.lower())

    def test_hello(self) -> None:
        """A request and its response: hello, and the reply with the way to the audio."""
        client = subprocess.Popen(
            self.response_command(json.dumps(HELLO), "-C", "2"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.chat.greet("from mosquitto")
            output, errors = client.communicate(timeout=2 * PATIENCE)
        finally:
            client.kill()
            client.communicate()
        self.assertEqual(errors, "")
        replies = {reply["type"]: reply for reply in map(json.loads, output.splitlines())}
        self.assertEqual(replies["hello"]["session_id"], "from mosquitto")
        self.assertEqual(replies["hello"]["udp"]["server"], "127.0.0.1")

    def test_goodbye(self) -> None:
        """A message of a session long gone is answered with a goodbye for it."""
        stale = '{"type":"listen","session_id":"long gone"}'
        done = subprocess.run(
            self.response_command(stale, "-C", "2"),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=True,
        )
        self.assertIn(
            {"type": "goodbye", "session_id": "long gone"},
            [json.loads(line) for line in done.stdout.splitlines()],
        )

    def response_command(self, message: str, *arguments: str) -> list[str]:
        """mosquitto_rr: publish a message, then print what comes on the device's topic."""
        credentials = IDENTITY.credentials(KEY)
        assert credentials.username is not None
        assert credentials.password is not None
        return [
            "mosquitto_rr",
            *("-h", "127.0.0.1", "-p", str(self.gateway.mqtt_port), "-V", "mqttv311"),
            *("-i", credentials.client_id, "-u", credentials.username),
            *("-P", credentials.password.decode("ascii"), "-W", "5"),
            *("-t", "device-server", "-e", TOPIC, "-m", message, *arguments),
        ]
