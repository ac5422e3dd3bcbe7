"""Devices that call each other: a gateway with the devices of the vectors, all in memory."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, CREDENTIALS, Address, FakeDeviceLink, Surroundings, Voice
from xzgw.config import Config
from xzgw.core.calls import ANSWER_TIME
from xzgw.core.gateway import Gateway
from xzgw.core.local_door import LocalDoor
from xzgw.wire import credentials, messages
from xzgw.wire.messages import Json
from xzgw.wire.packets import Connect

SPEECH: list[bytes] = [
    bytes.fromhex(packet)
    for packet in json.loads(
        (Path(__file__).parents[1] / "vectors" / "speech_opus_16k_60ms.json").read_text("utf-8")
    )
]
AUDIO = {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60}
HELLO: Json = {"type": "hello", "version": 3, "transport": "udp", "audio_params": AUDIO}


def connect_of(number: int) -> Connect:
    """The CONNECT of that device of the vectors."""
    vector = CREDENTIALS[number]
    password = vector["password"].encode()
    return Connect(vector["client_id"], vector["username"], password, 240, True, 4, None)


def signed(client_id: str) -> Connect:
    """The CONNECT of any device, as one that the OTA gave its password sends it."""
    password = credentials.device_password(CONFIG.signature_key, client_id, "e30=").encode()
    return Connect(client_id, "e30=", password, 240, True, 4, None)


def goodbye(session_id: str) -> Json:
    """What ends the session with this id on a device."""
    return {"session_id": session_id, "type": "goodbye"}


class Switchboard:
    """A gateway, its surroundings, and the door to its devices."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.around = Surroundings(config, entropy=random.Random(1).randbytes)
        self.gateway = Gateway(self.around.services)
        self.door = LocalDoor(self.gateway)

    @property
    def clock(self) -> Clock:
        return self.around.clock

    def pass_time(self, seconds: float) -> None:
        """On the clock, and on the wall."""
        self.around.now += seconds
        self.clock.advance(seconds)

    def events(self, kind: str) -> list[Json]:
        """The data of all events of a kind so far."""
        return [event.data for event in self.around.events.since(0) if event.kind == kind]


class Phone:
    """One device, seen from its own side."""

    voice: Voice
    session_id = ""

    def __init__(self, board: Switchboard, connect: Connect, ip: str = "192.0.2.50") -> None:
        self.client_id = connect.client_id
        self.mac = self.client_id.split("@@@")[1].replace("_", ":")
        self.source: Address = (ip, 40000)
        self.link = FakeDeviceLink()
        self._board = board
        self._sequence = 0
        self._read = 0  # of what the gateway has sent by UDP
        self.device = board.gateway.admit(connect, self.link, ip, "192.0.2.1")

    def hello(self, session_id: str, after: float = 0.0) -> bytes:
        """Open a session, to which the server agrees after so many seconds; returns the reply."""
        self.says(HELLO)
        self.server = self._board.around.dialer.dials[-1]
        self.server.open()
        self._board.pass_time(after)
        self.server.answers(session_id, audio_params=AUDIO)
        reply = self.link.published.pop()
        self.session_id, self.voice, self._sequence = session_id, Voice(reply), 0
        return reply

    def says(self, message: Json) -> None:
        """Send a message over MQTT."""
        self.device.received(messages.encode(message))

    def texts(self) -> list[Json]:
        """The messages it got since the last time."""
        return [messages.parse(text) for text in self.link.take()]

    def speaks(self, opus: bytes, timestamp: int = 0, skip: int = 0) -> None:
        """Send one packet of audio, after so many that got lost."""
        self._sequence += 1 + skip
        channel = self._board.around.services.channels[self.voice.ssrc]
        channel.receive(self.voice.cipher.seal(self._sequence, timestamp, opus), self.source)

    def datagrams(self) -> list[bytes]:
        """The datagrams it got since the last time."""
        sent, start = self._board.around.voice.sent, self._read
        self._read = len(sent)
        return [datagram for datagram, address in sent[start:] if address == self.source]

    def hears(self) -> list[tuple[int, int, bytes]]:
        """The same, opened with its own key: sequence, timestamp (ms), Opus packet."""
        return [self.voice.cipher.open(datagram) for datagram in self.datagrams()]

    def replies(self, request: Json, **members: Any) -> None:
        """Answer an MCP request."""
        payload = {"jsonrpc": "2.0", "id": request["payload"]["id"], **members}
        self.says({"type": "mcp", "session_id": self.session_id, "payload": payload})

    def wakes_up(self) -> Json:
        """Take the wake-up call that it must have got, and answer it; returns it."""
        [request] = self.texts()
        self.replies(request, result=True)
        return request


class PhonesTestCase(SynchronousTestCase):
    """However a test ends: once the devices are gone and calls forgotten, nothing is left."""

    def setUp(self) -> None:
        self.board = Switchboard()
        self.phones: list[Phone] = []

    def tearDown(self) -> None:
        for device in list(self.board.gateway.devices.values()):
            self.board.gateway.leave(device, "lost")
        self.board.pass_time(ANSWER_TIME)
        self.assertEqual(self.board.clock.getDelayedCalls(), [])
        self.assertEqual(self.board.around.services.channels, {})

    def phone(self, number: int, session_id: str = "") -> Phone:
        """That device of the vectors, with a session open and heard if it is to have one."""
        phone = Phone(self.board, connect_of(number), f"192.0.2.{50 + number}")
        if session_id:
            phone.hello(session_id)
            phone.speaks(SPEECH[0])
        return phone


WAYS: dict[str, Callable[[Switchboard, Phone], object]] = {
    "goodbye": lambda board, phone: phone.says(goodbye(phone.session_id)),
    "goodbye without an id": lambda board, phone: phone.says({"type": "goodbye"}),
    "hello": lambda board, phone: phone.hello("later"),
    "udp_timeout": lambda board, phone: phone.says({"type": "udp_timeout"}),
    "lost": lambda board, phone: board.gateway.leave(phone.device, "lost"),
    "taken over": lambda board, phone: Phone(board, signed(phone.client_id)),
    "ended by the operator": lambda board, phone: board.door.end_session(phone.client_id),
    "disconnected by the operator": lambda board, phone: board.door.disconnect(phone.client_id),
}
"""The ways in which a device leaves its session, and with it a call."""
