"""`twistd -n xzgw` with real sockets on all sides, and parts that are not ours at the other ends:
paho-mqtt as the device, the `websockets` library as the server.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from tests.support import KEY, PATH, PATIENCE, SECRET, SPEECH, ChatServer, GatewayProcess
from xzgw.tools.identity import Identity
from xzgw.wire.audio import HEADER, Cipher, server_audio
from xzgw.wire.credentials import server_token

AUDIO = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {"mcp": True, "aec": None},
    "audio_params": AUDIO,
    "text_font": "普惠体",
}
FAULTS = ("Traceback", "Unhandled")


class Voice:
    """A device's audio, on a UDP socket connected to where the hello reply says."""

    def __init__(self, udp: dict[str, Any]) -> None:
        key, ssrc = bytes.fromhex(udp["key"]), int(udp["nonce"][8:16], 16)
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((udp["server"], udp["port"]))
        self._sealer = Cipher(key, ssrc)
        self._opener = Cipher(key, ssrc)
        self._sequence = 0

    def speak(self, opus: bytes, timestamp: int = 0) -> None:
        self._sequence += 1
        self.socket.send(self._sealer.seal(self._sequence, timestamp, opus))

    def hear(self) -> tuple[int, int, bytes]:
        """Sequence, timestamp and Opus packet of the next datagram."""
        return self._opener.open(self.socket.recv(2000))


class Device:
    """paho-mqtt, with a device's credentials."""

    def __init__(
        self, port: int, number: int, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
    ) -> None:
        """Connect; the number makes the MAC."""
        self.identity = Identity(mac=f"02:00:00:00:00:{number:02x}")
        credentials = self.identity.credentials(KEY)
        assert credentials.password is not None
        self.secrets = [credentials.password.decode("ascii")]
        self.voices: list[Voice] = []
        self._pushed: Queue[tuple[str, bytes]] = Queue()
        self._events: Queue[tuple[str, Any]] = Queue()
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            credentials.client_id,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        self.client.username_pw_set(credentials.username, self.secrets[0])
        self.client.on_connect = lambda _c, _u, _f, code, _p: self._events.put(("connect", code))
        self.client.on_disconnect = lambda *_: self._events.put(("disconnect", None))
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: self._events.put(
            ("subscribe", [code.value for code in codes])
        )
        self.client.on_message = lambda _c, _u, m: self._pushed.put((m.topic, bytes(m.payload)))
        self.client.connect("127.0.0.1", port, keepalive=60)
        self.client.loop_start()
        code = self.event("connect")
        assert not code.is_failure, code

    def event(self, kind: str) -> Any:
        """What the next callback of a kind was told."""
        name, value = self._events.get(timeout=PATIENCE)
        assert name == kind, name
        return value

    def say(self, message: dict[str, Any] | bytes, qos: int = 0) -> None:
        """Publish, and wait for its acknowledgement if it gets one."""
        payload = message if isinstance(message, bytes) else json.dumps(message)
        self.client.publish("device-server", payload, qos).wait_for_publish(PATIENCE)

    def told(self) -> bytes:
        """The next message pushed to us, but for the gateway's own questions about tools."""
        while True:
            topic, payload = self._pushed.get(timeout=PATIENCE)
            assert topic == "devices/p2p/" + self.identity.mac.replace(":", "_"), topic
            if b'"clientInfo"' not in payload:
                return payload

    def greet(self, chat: ChatServer, session_id: str, qos: int = 0) -> ServerConnection:
        """Say hello; returns the server's end of the session, `voices[-1]` is ours."""
        self.say(HELLO, qos)
        theirs = chat.greet(session_id)
        reply = json.loads(self.told())
        assert (reply["type"], reply["session_id"]) == ("hello", session_id), reply
        self.secrets.append(reply["udp"]["key"])
        self.voices.append(Voice(reply["udp"]))
        return theirs

    def leave(self) -> None:
        """DISCONNECT, and no more threads and sockets."""
        self.client.disconnect()
        self.client.loop_stop()
        for voice in self.voices:
            voice.socket.close()


def close_code(theirs: ServerConnection) -> int:
    """The code that a server's connection is closed with."""
    try:
        message = theirs.recv(PATIENCE)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "closed without a close frame"
        return int(closed.rcvd.code)
    raise AssertionError(f"{message!r} instead of a close")


class EndToEndTestCase(SynchronousTestCase):
    """Whatever a test does, nothing unhandled and nothing secret gets into the log."""

    gateway: GatewayProcess

    def setUp(self) -> None:
        self.devices: list[Device] = []

    def start(
        self,
        settings: dict[str, str],
        twistd: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
    ) -> GatewayProcess:
        settings = {"CHAT_SERVERS": "ws://127.0.0.1:9" + PATH, **settings}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings, twistd=twistd, flags=flags)
        self.addCleanup(self.gateway.kill)
        return self.gateway

    def device(
        self, number: int, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
    ) -> Device:
        device = Device(self.gateway.mqtt_port, number, protocol)
        self.devices.append(device)
        self.addCleanup(device.leave)
        return device

    def assertQuiet(self) -> None:
        """The log has no fault and no secret in it."""
        secrets = [KEY, SECRET, *(secret for device in self.devices for secret in device.secrets)]
        log = self.gateway.log
        for text in (*FAULTS, *secrets, "Bearer"):
            self.assertNotIn(text, log)


class ConversationTests(EndToEndTestCase):
    """Devices, the gateway and a server; the gateway always stops cleanly."""

    def setUp(self) -> None:
        super().setUp()
        self.chat = ChatServer(max_size=None)
        self.addCleanup(self.chat.close)
        self.start({"CHAT_SERVERS": self.chat.url})
        self.addCleanup(self._stops)  # trial runs this before the clean-ups above

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        self.assertQuiet()

    def test_hello(self) -> None:
        """The server gets the device's hello with its identity, the device gets the way to its
        audio."""
        device = self.device(1)
        device.say(HELLO)
        theirs = self.chat.accept()
        assert theirs.request is not None
        headers = theirs.request.headers
        identity = device.identity
        self.assertEqual(theirs.request.path, PATH)
        self.assertEqual(headers["Device-Id"], identity.mac)
        self.assertEqual(headers["Client-Id"], identity.uuid)
        self.assertEqual(headers["Protocol-Version"], "2")
        self.assertEqual(headers["X-Forwarded-For"], "127.0.0.1")
        token = headers["Authorization"].removeprefix("Bearer ")
        at = int(token.rpartition(".")[2])
        self.assertEqual(token, server_token(SECRET, identity.uuid, identity.mac, at))
        hello = json.loads(theirs.recv(PATIENCE))
        self.assertEqual(hello, {**HELLO, "version": 2, "transport": "websocket"})
        params = {"format": "opus", "sample_rate": 24000, "x": [1.50]}
        theirs.send(json.dumps({"type": "hello", "session_id": "s1", "audio_params": params}))
        reply = json.loads(device.told())
        udp = reply.pop("udp")
        self.assertEqual(
            reply,
            {
                "type": "hello",
                "version": 3,
                "session_id": "s1",
                "transport": "udp",
                "audio_params": params,
            },
        )
        self.assertEqual((udp["server"], udp["encryption"]), ("127.0.0.1", "aes-128-ctr"))
        self.assertEqual(len(bytes.fromhex(udp["key"])), 16)
        self.assertRegex(udp["nonce"], "^01000000[0-9a-f]{8}0{16}$")

    def test_texts(self) -> None:
        """Both ways byte for byte: key order, numbers, escapes, spaces."""
        device = self.device(2)
        theirs = device.greet(self.chat, "s2")
        for text in (
            '{"type":"listen","z":1.0e+02,"a":0.10,"n":-0,"e":"\\u4f60\\/好","":[ ]}',
            ' { "type" : "tts" , "type" : "tts", "text":"\\ud83d\\ude00😀" }\r\n',
            '{"type":"mcp","payload":{"jsonrpc":"2.0","id":1,"result":{}}}',
            '{"no":"type"}',
        ):
            device.say(text.encode())
            self.assertEqual(theirs.recv(PATIENCE), text)
            theirs.send(text)
            self.assertEqual(device.told(), text.encode())

    def test_audio(self) -> None:
        """The speech of the vectors, both ways: each packet intact, in order, with its timestamp;
        what the server says before the device's first datagram waits."""
        device = self.device(3)
        theirs = device.greet(self.chat, "s3")
        voice = device.voices[0]
        theirs.send(server_audio(0, 960, SPEECH[63]))
        for number, opus in enumerate(SPEECH, 1):
            voice.speak(opus, timestamp=number * 60)
        self.assertEqual(voice.hear(), (1, 960, SPEECH[63]))
        for number, opus in enumerate(SPEECH, 1):
            message = theirs.recv(PATIENCE)
            assert isinstance(message, bytes)
            kind, _, length, _, timestamp, size = struct.unpack_from(">BBHIII", message)
            self.assertEqual(
                (kind, length, timestamp, size), (1, len(opus), number * 60, len(opus))
            )
            self.assertEqual(message[HEADER:], opus)
        for number, opus in enumerate(SPEECH):
            theirs.send(server_audio(number, 5000 + number, opus))
            self.assertEqual(voice.hear(), (number + 2, 5000 + number, opus))

    def test_two_devices(self) -> None:
        """Two devices at once never get each other's texts or audio."""
        devices = [self.device(4), self.device(5)]
        sessions = [(d, d.greet(self.chat, f"two-{d.identity.mac}")) for d in devices]
        halves = {d.identity.mac: SPEECH[i::2] for i, d in enumerate(devices)}
        for turn in range(20):
            for device, theirs in sessions:
                mac = device.identity.mac
                device.say({"type": "from device", "mac": mac, "turn": turn})
                device.voices[0].speak(halves[mac][turn])
                theirs.send(json.dumps({"type": "to device", "mac": mac, "turn": turn}))
                theirs.send(server_audio(turn, turn, halves[mac][31 - turn]))
        for device, theirs in sessions:
            mac = device.identity.mac
            assert theirs.request is not None
            self.assertEqual(theirs.request.headers["Device-Id"], mac)
            got = [theirs.recv(PATIENCE) for _ in range(40)]
            self.assertEqual(
                [json.loads(m) for m in got if isinstance(m, str)],
                [{"type": "from device", "mac": mac, "turn": turn} for turn in range(20)],
            )
            self.assertEqual([m[HEADER:] for m in got if isinstance(m, bytes)], halves[mac][:20])
            for turn in range(20):
                self.assertEqual(
                    json.loads(device.told()), {"type": "to device", "mac": mac, "turn": turn}
                )
                self.assertEqual(device.voices[0].hear(), (turn + 1, turn, halves[mac][31 - turn]))

    def test_goodbye(self) -> None:
        """The device's goodbye closes the WebSocket; the next hello is a session of its own."""
        device = self.device(6)
        theirs = device.greet(self.chat, "s6")
        device.say({"type": "goodbye", "session_id": "s6"})
        self.assertEqual(close_code(theirs), 1000)
        again = device.greet(self.chat, "s6-again")
        self.assertEqual(len(set(device.secrets)), 3, "each session has its own key")
        device.voices[1].speak(SPEECH[0])
        message = again.recv(PATIENCE)
        assert isinstance(message, bytes)
        self.assertEqual(message[HEADER:], SPEECH[0])

    def test_hello_again(self) -> None:
        """A hello while a session is open replaces it; no goodbye is sent."""
        device = self.device(7)
        theirs = device.greet(self.chat, "s7")
        device.greet(self.chat, "s7-again")
        self.assertEqual(close_code(theirs), 1000)

    def test_server_closes(self) -> None:
        """When the server closes, the device gets a goodbye with that session's id."""
        device = self.device(8)
        device.greet(self.chat, "s8").close()
        self.assertEqual(json.loads(device.told()), {"type": "goodbye", "session_id": "s8"})

    def test_stale(self) -> None:
        """A message of a session that is not open is answered with a goodbye for it."""
        device = self.device(9)
        device.say({"session_id": "long gone", "type": "listen", "state": "detect"})
        self.assertEqual(json.loads(device.told()), {"type": "goodbye", "session_id": "long gone"})

    def test_device_vanishes(self) -> None:
        """With the device's connection its session ends."""
        device = self.device(10)
        theirs = device.greet(self.chat, "s10")
        device.client.disconnect()
        self.assertEqual(close_code(theirs), 1000)

    def test_qos_and_versions(self) -> None:
        """QoS 0, 1 and 2, in MQTT 3.1 and 3.1.1: acknowledged, and delivered once."""
        for version in (MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311):
            device = self.device(11, version)
            topic = "devices/p2p/02_00_00_00_00_0b"
            device.client.subscribe([(topic, 2), ("devices/p2p/#", 0), ("null", 1)])
            self.assertEqual(device.event("subscribe"), [0, 128, 128])
            for qos in (0, 1, 2):
                theirs = device.greet(self.chat, f"s11-{qos}", qos)
                texts = [f'{{"type":"listen","n":{n}}}' for n in range(5)]
                for text in texts:
                    device.say(text.encode(), qos)
                device.say({"type": "goodbye"}, qos)
                self.assertEqual([theirs.recv(PATIENCE) for _ in texts], texts)
                self.assertEqual(close_code(theirs), 1000)
            device.client.disconnect()
            device.event("disconnect")

    def test_no_server(self) -> None:
        """A server that rejects the dial: the device gets an error, and in the end a session."""
        device = self.device(12)
        device.say(HELLO)
        self.chat.accept().close()
        self.assertEqual(json.loads(device.told())["type"], "error")
        device.greet(self.chat, "s12")

    def test_bad_server(self) -> None:
        """Whatever the server sends that makes no sense is dropped, and the session goes on."""
        device = self.device(13)
        theirs = device.greet(self.chat, "s13")
        voice = device.voices[0]
        voice.speak(SPEECH[0])
        self.assertIsInstance(theirs.recv(PATIENCE), bytes)
        for text in (
            *("认证失败", "", "[]", "null", "1" * 5000, "[" * 100_000, '{"a":NaN}', "{"),
            *('{"type":"hello"}', '{"type":"hello","session_id":5}', "x" * (1 << 20)),
            *('{"type":' * 50_000, '{"type":"x","n":1e999}', '{"type":"x"}{"type":"x"}'),
        ):
            theirs.send(text)
        for size in range(17):
            theirs.send(bytes(size))
        theirs.send(server_audio(0, 0, SPEECH[0]) + b"x")
        theirs.send(server_audio(0, 0, bytes(1485)))
        theirs.send(bytes(1 << 20))
        theirs.send('{"type":"stt"}')
        theirs.send(server_audio(1, 1, SPEECH[1]))
        self.assertEqual(device.told(), b'{"type":"stt"}')
        self.assertEqual(voice.hear(), (1, 1, SPEECH[1]))

    def test_junk(self) -> None:
        """Junk on TCP and UDP, and from a device, disturbs nobody."""
        device = self.device(14)
        theirs = device.greet(self.chat, "s14")
        dice = random.Random(14)
        voice = device.voices[0]
        nonce = voice._sealer.seal(1, 0, b"x")[:HEADER]  # with the right connection id
        with socket.socket(type=socket.SOCK_DGRAM) as stranger:
            stranger.connect(voice.socket.getpeername())
            for size in range(200):
                stranger.send(dice.randbytes(size))
                stranger.send(nonce + dice.randbytes(size))
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", self.gateway.mqtt_port)) as stranger:
                stranger.sendall(dice.randbytes(100))
        for payload in (b"", b"\xff", b"[]", b"{" * 60_000, b'{"type":"hello","version":"3"}'):
            device.say(payload)
        self.assertEqual(json.loads(device.told())["type"], "error")
        voice.speak(SPEECH[0])
        message = theirs.recv(PATIENCE)
        assert isinstance(message, bytes)
        self.assertEqual(message[HEADER:], SPEECH[0])
        theirs.send(server_audio(0, 7, SPEECH[1]))
        self.assertEqual(voice.hear(), (1, 7, SPEECH[1]))


class LifeCycleTests(EndToEndTestCase):
    """Start and end, each with a gateway of its own."""

    def chat_server(self) -> ChatServer:
        chat = ChatServer()
        self.addCleanup(chat.close)
        return chat

    def stops_cleanly(self, how: Callable[[], int]) -> None:
        chat = self.chat_server()
        self.start({"CHAT_SERVERS": chat.url})
        devices = [self.device(1), self.device(2), self.device(3)]
        sessions = [device.greet(chat, f"id-{n}") for n, device in enumerate(devices[:2])]
        self.assertEqual(how(), 0)
        for number, (device, theirs) in enumerate(zip(devices, sessions, strict=False)):
            self.assertEqual(
                json.loads(device.told()), {"type": "goodbye", "session_id": f"id-{number}"}
            )
            self.assertEqual(close_code(theirs), 1001)
        for device in devices:
            device.event("disconnect")
        self.assertQuiet()

    def test_sigterm(self) -> None:
        """SIGTERM: a goodbye to every open session, WebSockets closed with 1001, status 0, all
        within 5 s."""
        self.stops_cleanly(lambda: self.gateway.stop(signal.SIGTERM))

    def test_sigterm_at_once(self) -> None:
        """As soon as its ports are open it ends in good order, whatever it is yet about."""
        for _ in range(3):
            self.start({})
            self.gateway.wait_for("admin API at")
            self.assertEqual(self.gateway.stop(), 0)

    def test_sigint(self) -> None:
        """SIGINT does the same."""
        self.stops_cleanly(lambda: self.gateway.stop(signal.SIGINT))

    def test_stops_while_a_server_hangs(self) -> None:
        """Neither a server that does not answer nor peers that do not read hold up the end."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            self.start({"CHAT_SERVERS": f"ws://127.0.0.1:{port}{PATH}"})
            device = self.device(1)
            device.say(HELLO)
            peer, _ = silent.accept()
            with peer, socket.create_connection(("127.0.0.1", self.gateway.mqtt_port)):
                self.assertEqual(self.gateway.stop(), 0)
        self.assertQuiet()

    def assertRefuses(self, *words: str) -> None:
        """It ends by itself with a non-zero status, one line with these words and no traceback."""
        self.assertNotEqual(self.gateway.ended(), 0)
        lines = [line for line in self.gateway.lines if all(word in line for word in words)]
        self.assertEqual(len(lines), 1, self.gateway.log)
        self.assertQuiet()

    def test_mqtt_port_in_use(self) -> None:
        """One line says which port and why, and the status is not 0."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            self.start({"XZGW_MQTT": endpoint})
            self.assertRefuses("cannot listen for MQTT", endpoint, "in use")

    def test_udp_port_in_use(self) -> None:
        """The same for audio."""
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            self.start({"XZGW_UDP": f"127.0.0.1:{port}"})
            self.assertRefuses("cannot listen for audio", f"127.0.0.1:{port}", "in use")

    def test_bad_configuration(self) -> None:
        """Each mistake is a line that names it, and the status is not 0."""
        self.start(
            {"CHAT_SERVERS": "http://example.org/", "XZGW_MQTT": "carrier-pigeon:1883"},
            flags=("--udp", "70000"),
        )
        self.assertNotEqual(self.gateway.ended(), 0)
        self.assertEqual(len(self.gateway.lines), 3, self.gateway.log)
        for word in ("http://example.org/", "carrier-pigeon", "70000"):
            self.assertEqual(len([line for line in self.gateway.lines if word in line]), 1)
        self.assertQuiet()

    def test_json_log(self) -> None:
        """With --logger every line is a JSON object."""
        chat = self.chat_server()
        self.start({"CHAT_SERVERS": chat.url}, twistd=("--logger", "xzgw.logs.json_lines"))
        device = self.device(1)
        device.greet(chat, "in JSON")
        self.assertEqual(self.gateway.stop(), 0)
        records = [json.loads(line) for line in self.gateway.lines]
        for record in records:
            self.assertLessEqual({"time", "level", "namespace", "message"}, set(record))
        (start,) = [r for r in records if r["message"].startswith("session start: ")]
        self.assertEqual((start["session"], start["level"]), ("in JSON", "info"))
        self.assertEqual(start["client"], device.identity.client_id)
        self.assertQuiet()
