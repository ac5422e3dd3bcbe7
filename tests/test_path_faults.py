"""A gateway process behind networks that lose, double, delay, stall and reset."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from tests.api_support import HOST, request, today, token
from tests.faulty_path import Harm, TcpPath, UdpPath
from tests.raw_device import RawDevice, RawVoice
from tests.stream_device import HELLO
from tests.support import PATH, PATIENCE, SPEECH, ChatServer, GatewayProcess
from xzgw.wire.audio import parse_server_audio, server_audio

BAD = Harm(lose=0.1, double=0.1, hold=0.1, delay=0.004)
PACKETS = 300
LAST = 5  # packets without harm in the end, so that what is held back comes, too
FRAME = 0.06  # s
STALLED = 40  # frames, 2.4 s


def packet(number: int) -> bytes:
    """The Opus packet that bears this number; so does the timestamp, 60 times it."""
    return SPEECH[number % len(SPEECH)]


class Voice(RawVoice):
    """A device's audio, numbered from 1."""

    number = 0

    def say(self) -> None:
        """Send the next packet."""
        self.number += 1
        self.socket.send(self._sealer.seal(self.number, 60 * self.number, packet(self.number)))

    def heard(self) -> tuple[int, int, bytes]:
        """Sequence, timestamp and Opus packet of the next datagram."""
        return self._opener.open(self.socket.recv(2000))


class FaultyPathTestCase(SynchronousTestCase):
    """The gateway stops cleanly in the end, whatever it was put through."""

    def setUp(self) -> None:
        self.chat = ChatServer()
        self.addCleanup(self.chat.close)

    def start(self, **settings: str) -> None:
        """Start the gateway with these environment variables."""
        settings = {"CHAT_SERVERS": self.chat.url, **settings}
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        self.addCleanup(self._stops)
        self.mqtt_port = self.gateway.mqtt_port

    def _stops(self) -> None:
        self.assertEqual(self.gateway.stop(), 0)
        self.assertNotRegex(self.gateway.log, "Traceback|Unhandled")

    def connect(self) -> RawDevice:
        """The device, logged in."""
        device = RawDevice((HOST, self.mqtt_port), 1)
        self.addCleanup(device.socket.close)
        self.assertEqual(device.log_in(), 0)
        return device

    def open(self, device: RawDevice, session: str) -> tuple[Voice, ServerConnection]:
        """A session with this id: both ends of it."""
        device.say(HELLO)
        theirs = self.chat.greet(session)
        reply = device.told("hello")
        self.assertEqual(reply["session_id"], session)
        voice = Voice(reply["udp"])
        self.addCleanup(voice.socket.close)
        return voice, theirs

    def shown(self, device: RawDevice) -> Any:
        """What the API knows of the device."""
        port = int(self.gateway.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        headers = {"Authorization": f"Bearer {token(today())}"}
        path = f"/v1/devices/{device.identity.client_id}"
        return request(port, "GET", path, None, headers).json

    def takes(self, theirs: ServerConnection, numbers: list[int]) -> None:
        """The server gets exactly these packets next, in this order."""
        for number in numbers:
            message = theirs.recv(PATIENCE)
            assert isinstance(message, bytes)
            self.assertEqual(parse_server_audio(message), (60 * number, packet(number)))

    def hears(self, voice: Voice, sequence: int, number: int) -> None:
        """The device gets exactly this packet next."""
        self.assertEqual(voice.heard(), (sequence, 60 * number, packet(number)))

    def passes(self, device: RawDevice, theirs: ServerConnection, session: str) -> None:
        """Texts pass both ways, in this session."""
        text = {"type": "listen", "session_id": session, "state": "detect"}
        device.say(text)
        self.assertEqual(json.loads(theirs.recv(PATIENCE)), text)
        theirs.send(json.dumps({"type": "stt", "session_id": session}))
        self.assertEqual(device.told("stt")["session_id"], session)
        shown = self.shown(device)
        self.assertEqual((shown["state"], shown["session"]["id"]), ("live", session))


class UdpTests(FaultyPathTestCase):
    """Datagrams."""

    def setUp(self) -> None:
        super().setUp()
        self.path = UdpPath(seed=5)
        self.addCleanup(self.path.close)
        self.start(PUBLIC_UDP_PORT=str(self.path.port))
        udp = self.gateway.wait_for(r"audio over UDP at 127\.0\.0\.1:(\d+)")
        self.path.start(int(udp[1]))
        self.device = self.connect()
        self.voice, self.theirs = self.open(self.device, "s")

    def test_up(self) -> None:
        """The server gets what arrives in order, and the figures are what the network did."""
        way = self.path.up
        way.harm = BAD
        for number in range(PACKETS + LAST):
            if number == PACKETS:
                way.harm = Harm()
            self.voice.say()
            way.wait(number + 1)
        in_order, late, duplicate = self.judge(PACKETS + LAST)
        self.takes(self.theirs, in_order)
        up = self.shown(self.device)["udp"]["up"]
        self.assertGreater(min(late, duplicate, PACKETS - len(way.delivered) + duplicate), 10)
        self.assertEqual(up["packets"], len(in_order))
        self.assertEqual(up["lost"], PACKETS + LAST - len(set(way.delivered)))
        self.assertEqual((up["late"], up["duplicate"]), (late, duplicate))
        self.assertEqual(up["refused"], late + duplicate)
        self.assertEqual(up["refused_by"]["old_sequence"], late + duplicate)
        self.passes(self.device, self.theirs, "s")

    def judge(self, count: int) -> tuple[list[int], int, int]:
        """The sequences that came in order, and how many late and for the second time."""
        delivered, arrived = self.path.up.delivered, self.path.up.arrived
        self.assertEqual(arrived, list(range(1, count + 1)))
        in_order, seen, late, duplicate = [0], set[int](), 0, 0
        for sequence in delivered:
            if sequence > in_order[-1]:
                in_order.append(sequence)
            elif sequence in seen:
                duplicate += 1
            else:
                late += 1
            seen.add(sequence)
        return in_order[1:], late, duplicate

    def test_down(self) -> None:
        """Every packet of the server is sent once, under the next sequence, whatever happens."""
        self.voice.say()
        self.takes(self.theirs, [1])
        way, heard = self.path.down, 0
        way.harm = BAD
        for number in range(1, PACKETS + LAST + 1):
            if number == PACKETS + 1:
                way.harm = Harm()
            self.theirs.send(server_audio(number, 60 * number, packet(number)))
            way.wait(number)
            for sequence in way.delivered[heard:]:
                self.hears(self.voice, sequence, sequence)
            heard = len(way.delivered)
        self.assertEqual(way.arrived, list(range(1, PACKETS + LAST + 1)))
        down = self.shown(self.device)["udp"]["down"]
        self.assertEqual((down["packets"], down["dropped"]), (PACKETS + LAST, 0))
        self.passes(self.device, self.theirs, "s")

    def test_new_port(self) -> None:
        """Nothing is lost when the device is at another port of its address all at once, and what
        is sent to it follows."""
        for _ in range(10):
            self.voice.say()
        self.takes(self.theirs, list(range(1, 11)))
        self.path.rebind()
        for _ in range(10):
            self.voice.say()
        self.takes(self.theirs, list(range(11, 21)))
        self.theirs.send(server_audio(0, 60, packet(1)))
        self.hears(self.voice, 1, 1)
        up = self.shown(self.device)["udp"]["up"]
        self.assertEqual((up["packets"], up["lost"], up["refused"]), (20, 0, 0))


class MqttTests(FaultyPathTestCase):
    """The connection that a device has."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.path = TcpPath(self.gateway.mqtt_port)
        self.addCleanup(self.path.close)
        self.mqtt_port = self.path.port
        self.device = self.connect()
        self.voice, self.theirs = self.open(self.device, "s")

    def test_stall(self) -> None:
        """For some seconds no text comes through; audio does, and then the texts as well."""
        self.path.stall()
        text = {"type": "listen", "session_id": "s", "n": 1}
        self.device.say(text)
        self.theirs.send(json.dumps({"type": "tts", "session_id": "s"}))
        for number in range(1, STALLED + 1):
            self.voice.say()
            self.takes(self.theirs, [number])
            self.theirs.send(server_audio(number, 60 * number, packet(number)))
            self.hears(self.voice, number, number)
            time.sleep(FRAME)
        self.path.resume()
        self.assertEqual(json.loads(self.theirs.recv(PATIENCE)), text)
        self.assertEqual(self.device.told("tts")["session_id"], "s")
        self.passes(self.device, self.theirs, "s")

    def test_reset(self) -> None:
        """The session ends with it. The device that comes back in the belief that it goes on is
        told otherwise, and its hello opens another one."""
        self.voice.say()
        self.takes(self.theirs, [1])
        self.path.reset()
        with self.assertRaises(ConnectionClosed):
            self.theirs.recv(PATIENCE)
        self.assertRaises(ConnectionError, self.device.told, "goodbye")
        device = self.connect()
        self.assertEqual(self.shown(device)["state"], "idle")
        device.say({"type": "listen", "session_id": "s", "state": "start"})
        self.assertEqual(device.told("goodbye")["session_id"], "s")
        voice, theirs = self.open(device, "t")
        self.voice.say()  # under the old key
        voice.say()
        self.takes(theirs, [1])
        self.passes(device, theirs, "t")
        self.assertEqual(self.shown(device)["udp"]["up"]["packets"], 1)


class ServerTests(FaultyPathTestCase):
    """The connection to the chat server."""

    def setUp(self) -> None:
        super().setUp()
        self.path = TcpPath(self.chat.port)
        self.addCleanup(self.path.close)
        self.start(CHAT_SERVERS=f"ws://{HOST}:{self.path.port}{PATH}")
        self.device = self.connect()
        self.voice, self.theirs = self.open(self.device, "s")

    def test_stall(self) -> None:
        """For some seconds nothing comes through; then all of it does, both ways and in order."""
        self.voice.say()
        self.takes(self.theirs, [1])
        self.path.stall()
        text = {"type": "listen", "session_id": "s", "n": 1}
        self.device.say(text)
        for number in range(1, STALLED + 1):
            self.theirs.send(server_audio(number, 60 * number, packet(number)))
            time.sleep(FRAME)
        for _ in range(STALLED):
            self.voice.say()
        self.path.resume()
        self.assertEqual(json.loads(self.theirs.recv(PATIENCE)), text)
        self.takes(self.theirs, list(range(2, STALLED + 2)))
        for number in range(1, STALLED + 1):
            self.hears(self.voice, number, number)
        self.passes(self.device, self.theirs, "s")

    def test_reset(self) -> None:
        """The device gets a goodbye for its session, and its next hello opens another one."""
        self.path.reset()
        self.assertEqual(self.device.told("goodbye")["session_id"], "s")
        self.assertEqual(self.shown(self.device)["state"], "idle")
        voice, theirs = self.open(self.device, "t")
        voice.say()
        self.takes(theirs, [1])
        self.passes(self.device, theirs, "t")
