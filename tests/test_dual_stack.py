"""One gateway process for IPv6 and IPv4 at once, and at a path: real sockets, audio included."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.server import ServerConnection

from tests.raw_device import RawDevice, RawVoice
from tests.support import PATIENCE, SPEECH, ChatServer, GatewayProcess
from xzgw.wire.audio import HEADER, server_audio

AUDIO = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
HELLO = {"type": "hello", "version": 3, "transport": "udp", "audio_params": AUDIO}
ANYWHERE = {
    **dict.fromkeys(("XZGW_MQTT", "XZGW_UDP", "XZGW_API"), ""),
    **dict.fromkeys(("MQTT_PORT", "UDP_PORT", "API_PORT"), "0"),
}


def heard(theirs: ServerConnection) -> bytes:
    """The Opus packet of the next message to the server."""
    message = theirs.recv(PATIENCE)
    assert isinstance(message, bytes), message
    return message[HEADER:]


class DualStackTestCase(SynchronousTestCase):
    """A gateway and a chat server; the gateway always stops well."""

    def setUp(self) -> None:
        self.chat = ChatServer(max_size=None)
        self.addCleanup(self.chat.close)

    def start(self, **settings: str) -> None:
        self.directory = Path(self.mktemp())
        settings = {"CHAT_SERVERS": self.chat.url, **settings}
        self.gateway = GatewayProcess(self.directory, settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        for fault in ("Traceback", "Unhandled", "::ffff:"):
            self.assertNotIn(fault, self.gateway.log)

    def device(self, address: tuple[str, int] | str, number: int) -> RawDevice:
        """Connected and let in."""
        device = RawDevice(address, number)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.log_in(), 0)
        return device

    def greet(self, device: RawDevice, session_id: str) -> tuple[ServerConnection, RawVoice, str]:
        """Open a session: the server's end, the device's audio, and where that was told to go."""
        device.say(HELLO)
        theirs = self.chat.greet(session_id)
        udp = device.told("hello")["udp"]
        voice = RawVoice(udp)
        self.addCleanup(voice.socket.close)
        return theirs, voice, udp["server"]

    def converse(self, theirs: ServerConnection, voice: RawVoice) -> None:
        """Audio goes both ways."""
        for number, opus in enumerate(SPEECH[:4]):
            voice.speak(opus)
            self.assertEqual(heard(theirs), opus)
            theirs.send(server_audio(number, 0, opus))
            self.assertEqual(voice.hear(), opus)


class BothFamiliesTests(DualStackTestCase):
    """Plain ports, as in most configurations."""

    def setUp(self) -> None:
        super().setUp()
        self.start(**ANYWHERE)
        self.port = int(self.gateway.wait_for(r"MQTT at \[::\]:(\d+)")[1])

    def test_each(self) -> None:
        """A device of either family is told the very address it connected to, hears from there,
        and is shown to the server under its own address; both at the same time."""
        talks = []
        for number, host in enumerate(("::1", "127.0.0.1", "127.0.0.2"), 1):
            device = self.device((host, self.port), number)
            theirs, voice, server = self.greet(device, f"s{number}")
            assert theirs.request is not None
            from_ip = "::1" if host == "::1" else "127.0.0.1"
            self.assertEqual(theirs.request.headers["X-Forwarded-For"], from_ip)
            self.assertEqual(server, host)
            self.gateway.wait_for(f"connect: {device.identity.client_id} from {from_ip} ")
            talks.append((theirs, voice))
        for theirs, voice in talks:
            self.converse(theirs, voice)

    def test_api(self) -> None:
        """So is the admin API there for both."""
        port = int(self.gateway.wait_for(r"admin API at \[::\]:(\d+)")[1])
        for host in ("::1", "127.0.0.1"):
            peer = RawDevice((host, port), 1).socket
            with peer:
                peer.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda peer=peer: peer.recv(4096), b""))  # type: ignore[misc]
            self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2]), {"status": "ok"})

    def test_nameless(self) -> None:
        """Who leaves without a CONNECT is named by its own address in the log."""
        for host in ("::1", "127.0.0.1"):
            RawDevice((host, self.port), 1).socket.close()
            self.gateway.wait_for(rf"no device: {host}:\d+: ")


class OneFamilyTests(DualStackTestCase):
    """Addresses that are given stay as given."""

    def test_ipv6_alone(self) -> None:
        """One IPv6 address, for both kinds of ports."""
        self.start(XZGW_MQTT=r"tcp:0:interface=\:\:1", XZGW_UDP="[::1]:0")
        port = int(self.gateway.wait_for(r"MQTT at \[::1\]:(\d+)")[1])
        theirs, voice, server = self.greet(self.device(("::1", port), 1), "s1")
        self.assertEqual(server, "::1")
        self.converse(theirs, voice)
        self.assertRaises(ConnectionRefusedError, RawDevice, ("127.0.0.1", port), 2)

    def test_ipv4_alone(self) -> None:
        """A plain endpoint string is Twisted's, which is IPv4."""
        self.start(XZGW_MQTT="tcp:0")
        port = int(self.gateway.wait_for(r"MQTT at 0\.0\.0\.0:(\d+)")[1])
        self.device(("127.0.0.1", port), 1)
        self.assertRaises(ConnectionRefusedError, RawDevice, ("::1", port), 2)


class UnixTests(DualStackTestCase):
    """A path in place of a port."""

    def test_converse(self) -> None:
        """Its devices are called local; they are told public_ip, and audio works."""
        self.start(XZGW_MQTT="unix:mqtt.sock", PUBLIC_IP="127.0.0.1", XZGW_UDP="0")
        self.gateway.wait_for("MQTT at mqtt.sock")
        path = str(self.directory / "mqtt.sock")
        device = self.device(path, 1)
        self.gateway.wait_for(f"connect: {device.identity.client_id} from local ")
        theirs, voice, server = self.greet(device, "s1")
        self.assertEqual(server, "127.0.0.1")
        for opus in SPEECH[:3]:  # with no address to compare, its audio is on probation at first
            voice.speak(opus)
        for opus in SPEECH[:3]:
            self.assertEqual(heard(theirs), opus)
        self.converse(theirs, voice)
        RawDevice(path, 2).socket.close()
        self.gateway.wait_for("no device: local: ")

    def test_proxied(self) -> None:
        """Behind a PROXY header they have the addresses that it tells."""
        self.start(XZGW_MQTT="haproxy:unix:mqtt.sock", XZGW_UDP="127.0.0.1:0")
        self.gateway.wait_for("MQTT at mqtt.sock")
        device = RawDevice(str(self.directory / "mqtt.sock"), 1)
        self.addCleanup(device.socket.close)
        device.socket.sendall(b"PROXY TCP4 203.0.113.7 127.0.0.1 50000 1883\r\n")
        self.assertEqual(device.log_in(), 0)
        self.gateway.wait_for(f"connect: {device.identity.client_id} from 203.0.113.7 ")
        theirs, voice, _ = self.greet(device, "s1")
        assert theirs.request is not None
        self.assertEqual(theirs.request.headers["x-forwarded-for"], "203.0.113.7")
        for opus in SPEECH[:3]:  # it comes from another address, so it is on probation at first
            voice.speak(opus)
        for opus in SPEECH[:3]:
            self.assertEqual(heard(theirs), opus)
        self.converse(theirs, voice)
