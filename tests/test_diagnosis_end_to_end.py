"""What is wrong, said by a whole gateway: each fault is really there, on real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.server import ServerConnection

from tests.api_support import HOST, today, token
from tests.raw_device import RawDevice, RawVoice
from tests.stream_device import HELLO
from tests.support import (
    PATIENCE,
    SECRET,
    SPEECH,
    ChatServer,
    GatewayProcess,
    RawServer,
    read_request,
    read_to_end,
    upgrade,
)
from xzgw.tools.echo_connection import NOT_AUTHENTICATED
from xzgw.wire.audio import Cipher, server_audio
from xzgw.wire.packets import Publish

PATH = "/xiaozhi/v1/?from=mqtt_gateway"


def unauthorised(status: str) -> Callable[[socket.socket], None]:
    """A server that answers the handshake with this status."""

    def script(peer: socket.socket) -> None:
        read_request(peer)
        peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        read_to_end(peer)

    return script


def silent(peer: socket.socket) -> None:
    """A server that takes the WebSocket and says nothing."""
    peer.sendall(upgrade(read_request(peer)))
    peer.settimeout(4 * PATIENCE)
    read_to_end(peer)


def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return f"ws://{HOST}:{probe.getsockname()[1]}{PATH}"


class DiagnosisTestCase(SynchronousTestCase):
    """A gateway process, one device, and what the three places say that tell of its troubles."""

    gateway: GatewayProcess
    device: RawDevice

    def start(self, url: str, **settings: str) -> None:
        """Start the gateway with this chat server, and connect the device."""
        settings = {"CHAT_SERVERS": url, **settings}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.device = RawDevice((HOST, self.gateway.mqtt_port), 1)
        self.addCleanup(self.device.socket.close)
        self.assertEqual(self.device.log_in(), 0)

    def serve(self) -> str:
        """A chat server that the test speaks for; its URL."""
        self.chat = ChatServer()
        self.addCleanup(self.chat.close)
        return self.chat.url

    def script(self, script: Callable[[socket.socket], None]) -> str:
        """A server that does this to its only peer; its URL."""
        server = RawServer(script)
        self.addCleanup(server.close)
        return server.url

    def greet(self) -> tuple[ServerConnection, dict[str, Any]]:
        """Open a session; the server's end of it, and `udp` of the device's."""
        self.device.say(HELLO)
        theirs = self.chat.greet("s-1")
        udp: dict[str, Any] = self.device.told("hello")["udp"]
        return theirs, udp

    def voice(self, udp: dict[str, Any]) -> RawVoice:
        voice = RawVoice(udp)
        self.addCleanup(voice.socket.close)
        return voice

    def ask(self, path: str) -> Any:
        """GET from the admin API."""
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        connection = HTTPConnection(HOST, port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token(today())}"})
        response = connection.getresponse()
        body = json.loads(response.read())
        self.assertEqual(response.status, 200, body)
        return body

    def diagnosis(self) -> dict[str, Any]:
        """The device's, from the API."""
        device = self.ask("/v1/devices/" + quote(self.device.identity.client_id, safe=""))
        found: dict[str, Any] = device["diagnosis"]
        return found

    def assertTold(self, cause: str, check: str, *words: str) -> None:
        """In the log and in the API, with these words; once; and the checklist shows where."""
        line = self.gateway.wait_for(rf"{self.device.identity.client_id}: (.*) \({cause}\)$")
        told = self.diagnosis()
        self.assertEqual(told["cause"], cause)
        for each in words:
            self.assertIn(each, line[1])
            self.assertIn(each, told["sentence"])
        failed = {
            each["name"]: each["text"] for each in told["checks"] if each["state"] == "failed"
        }
        self.assertEqual(failed, {check: told["sentence"]})
        self.assertEqual(self.gateway.log.count(f"({cause})"), 1)
        self.gateway.stop()
        for fault in ("Traceback", "Unhandled", SECRET):
            self.assertNotIn(fault, self.gateway.log)


class ServerTests(DiagnosisTestCase):
    """No session, because of the chat server."""

    def fail_hello(self) -> None:
        """Say hello in vain."""
        self.device.socket.settimeout(3 * PATIENCE)
        self.device.say(HELLO)
        self.assertEqual(self.device.told("error")["message"], "no chat server answered")

    def test_dead(self) -> None:
        """Nobody listens at its address."""
        url = dead_url()
        self.start(url)
        self.fail_hello()
        self.assertTold("server_unreachable", "server", url, "cannot be reached", "running")

    def test_silent(self) -> None:
        """It takes the WebSocket, and never says hello."""
        self.start(self.script(silent))
        self.fail_hello()
        self.assertTold("server_silent", "server_hello", "took our hello and did not answer")

    def test_bad_token(self) -> None:
        """It checks the token after the handshake, as the xiaozhi-server does."""
        self.start(self.serve())
        self.device.say(HELLO)
        theirs = self.chat.accept()
        theirs.send(NOT_AUTHENTICATED)
        theirs.close()
        self.device.told("error")
        words = "refuses our token", "compare SERVER_SECRET with the server's server.auth_key"
        self.assertTold("server_refused", "server_hello", *words)

    def test_401(self) -> None:
        """It, or a proxy before it, checks the token in the handshake."""
        self.start(self.script(unauthorised("401 Unauthorized")))
        self.fail_hello()
        self.assertTold("server_refused", "server_hello", "refuses our token (HTTP 401)")

    def test_404(self) -> None:
        """The path is wrong."""
        self.start(self.script(unauthorised("404 Not Found")))
        self.fail_hello()
        self.assertTold("server_refused", "server", "HTTP 404", "is the path right")

    def test_no_audio(self) -> None:
        """It hears and writes, but does not speak."""
        self.start(self.serve())
        theirs, udp = self.greet()
        self.voice(udp).speak(SPEECH[0])
        tts = {"type": "tts", "session_id": "s-1"}
        theirs.send(json.dumps({"type": "stt", "text": "hello", "session_id": "s-1"}))
        for state in ("start", "sentence_start", "stop"):
            theirs.send(json.dumps({**tts, "state": state, "text": "Hello"}))
        self.assertTold("server_no_audio", "downlink", "subtitles but no sound", "synthesis")

    def test_no_reaction(self) -> None:
        """It takes the speech, and says nothing."""
        self.start(self.serve())
        _, udp = self.greet()
        voice = self.voice(udp)
        self.device.say({"type": "listen", "state": "start", "session_id": "s-1"})
        voice.speak(SPEECH[0])
        self.device.say({"type": "listen", "state": "detect", "session_id": "s-1"})
        self.assertTold("server_no_reaction", "downlink", "speech recognition")


class UdpTests(DiagnosisTestCase):
    """A session without sound, because of what became of UDP."""

    def speak(self, udp: dict[str, Any], count: int = 6) -> None:
        """So many packets of audio, as somebody does who was told this."""
        voice = self.voice(udp)
        for packet in SPEECH[:count]:
            voice.speak(packet)

    def scatter(self, udp: dict[str, Any]) -> None:
        """Nine packets of audio, each from another address than the one before."""
        cipher = Cipher(bytes.fromhex(udp["key"]), int(udp["nonce"][8:16], 16))
        for sequence in range(1, 10):
            with socket.socket(type=socket.SOCK_DGRAM) as voice:
                voice.bind((f"127.0.0.{2 + sequence % 3}", 0))
                datagram = cipher.seal(sequence, 0, SPEECH[sequence])
                voice.sendto(datagram, (udp["server"], udp["port"]))

    def test_blocked(self) -> None:
        """Not one datagram arrives."""
        self.start(self.serve())
        _, udp = self.greet()
        with socket.socket(type=socket.SOCK_DGRAM) as elsewhere:
            elsewhere.bind((HOST, 0))
            self.speak({**udp, "port": elsewhere.getsockname()[1]})
        question = f"is {udp['port']}/udp open, is {udp['server']} reachable from it?"
        self.assertTold("no_udp", "uplink", "no UDP from this device", question)

    def test_subtitles_but_no_sound(self) -> None:
        """The server's audio waits for the device's first datagram."""
        self.start(self.serve())
        theirs, _ = self.greet()
        theirs.send(json.dumps({"type": "tts", "state": "start"}))
        theirs.send(server_audio(0, 60, SPEECH[0]))
        self.assertTold("audio_before_udp", "downlink", "subtitles but no sound", "1 packets")

    def test_wrong_address(self) -> None:
        """The device was told an address that is this machine's own, but not the gateway's."""
        self.start(self.serve(), PUBLIC_IP="127.0.0.2")
        _, udp = self.greet()
        self.assertEqual(udp["server"], "127.0.0.2")
        self.speak(udp, 1)
        self.assertTold("wrong_address", "uplink", "127.0.0.2, which is the loop", "set PUBLIC_IP")

    def test_container_address(self) -> None:
        """The device was told an address that exists inside of a container engine only."""
        self.start(self.serve(), PUBLIC_IP="172.17.0.2")
        self.greet()
        self.assertTold("wrong_address", "uplink", "172.17.0.2, which is in Docker's own network")

    def test_wrong_key(self) -> None:
        """The device goes on with another session's key."""
        self.start(self.serve())
        _, udp = self.greet()
        self.speak({**udp, "key": "00" * 16}, 40)  # one of 75 passes for audio by chance
        self.assertTold("udp_wrong_key", "uplink", "decrypt to nonsense")

    def test_wrong_source(self) -> None:
        """Its datagrams come from many places, each time another one."""
        self.start(self.serve())
        self.scatter(self.greet()[1])
        self.assertTold("udp_wrong_source", "uplink", "9 datagrams", "127.0.0.1", "NAT")

    def test_another_session(self) -> None:
        """It goes on with a connection id that is no more."""
        self.start(self.serve())
        _, udp = self.greet()
        nonce = udp["nonce"]
        other = f"{int(nonce[8:16], 16) ^ 1:08x}"
        self.speak({**udp, "nonce": nonce[:8] + other + nonce[16:]})
        self.assertTold("udp_unknown", "uplink", "6 datagrams came from 127.0.0.1")

    def test_well(self) -> None:
        """With sound both ways nothing is told, and the checklist is all right."""
        self.start(self.serve())
        theirs, udp = self.greet()
        voice = self.voice(udp)
        voice.speak(SPEECH[0])
        theirs.send(json.dumps({"type": "tts", "state": "start"}))
        theirs.send(server_audio(0, 60, SPEECH[0]))
        self.assertEqual(voice.hear(), SPEECH[0])
        told = self.diagnosis()
        self.assertEqual((told["cause"], told["sentence"]), (None, "all is well"))
        self.assertEqual({check["state"] for check in told["checks"]}, {"ok"})


class DeviceTests(DiagnosisTestCase):
    """What the device itself does wrong."""

    def test_bad_hello(self) -> None:
        """It speaks another version."""
        self.start(self.serve())
        self.device.say({**HELLO, "version": 2})
        self.device.told("error")
        self.assertTold("bad_hello", "hello", "hello version 3 is required")

    def test_wrong_topic(self) -> None:
        """It publishes where nobody listens."""
        self.start(self.serve())
        self.device.send(Publish("device/server", json.dumps(HELLO).encode()))
        self.assertTold("wrong_topic", "hello", "'device/server'", "publish_topic")

    def test_alert(self) -> None:
        """It shows what is wrong, if so configured, and the event tells the same."""
        self.start(self.serve(), XZGW_DIAGNOSIS_ALERT="yes")
        self.greet()
        self.device.socket.settimeout(2 * PATIENCE)
        alert = self.device.told("alert")
        self.assertIn("no UDP from this device", alert["message"])
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        connection = HTTPConnection(HOST, port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(
            "GET",
            "/v1/events?kinds=diagnosis",
            headers={"Authorization": f"Bearer {token(today())}", "Last-Event-ID": "none"},
        )
        lines = iter(connection.getresponse().readline, b"")
        event = next(json.loads(line[5:]) for line in lines if b'"kind":"diagnosis"' in line)
        self.assertEqual((event["cause"], event["sentence"]), ("no_udp", alert["message"]))


class StartTests(DiagnosisTestCase):
    """What is unwise before any device comes."""

    def test_warnings(self) -> None:
        """In the log, and to be read from the API later."""
        url = self.serve().replace("?from=mqtt_gateway", "")
        self.start(url, PUBLIC_IP="172.17.0.2")
        warnings = self.ask("/v1/config")["warnings"]
        for words in ("does not end with ?from=mqtt_gateway", "is in Docker's own network"):
            self.assertEqual(len([each for each in warnings if words in each]), 1, warnings)
            self.gateway.wait_for(words.replace("?", r"\?"))
