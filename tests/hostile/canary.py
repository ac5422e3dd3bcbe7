"""The canary: an honest device and its honest chat server, talking both ways while others attack.

Every 60 ms the device sends the next Opus packet of real speech, over real UDP; the server checks
each byte for byte, in order, and echoes it, and the device checks that. Every eighth time the same
happens with a text over MQTT. Each has its own thread, so that an attack in the main thread, which
mostly waits, cannot disturb them.

Whatever is not as it should be becomes a line in `Canary.faults`: a packet lost, changed, repeated
or late, a session ended or opened anew, a connection closed.
"""

from __future__ import annotations

import json
import select
import time
from threading import Condition, Event, Thread
from typing import Any

from tests.hostile.canary_server import SESSION, CanaryServer, Faults, Track, packet, text
from tests.raw_device import RawDevice, RawVoice
from tests.stream_device import HELLO
from tests.support import PATIENCE
from xzgw.wire import messages
from xzgw.wire.audio import AudioError
from xzgw.wire.mqtt import MqttError
from xzgw.wire.packets import Packet, Pingreq, Pingresp, Publish

FRAME = 0.060  # s
LATE = 2.0  # s there and back; more than this is not contention for the processor
NUMBER = 0xFFFF  # makes the MAC; no attacker uses it
TEXT_EVERY = 4  # frames


class _Device(RawDevice):
    """A device whose packets are taken as they come."""

    def arrived(self) -> list[Packet]:
        """What one read brings. Raises EOFError, OSError or MqttError."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        packets, self._packets = [*self._packets, *self._decoder.feed(data)], []
        return packets


class _Voice(RawVoice):
    """A device's audio with numbers and timestamps."""

    last_heard = b""  # datagram

    def say(self, number: int) -> None:
        """Send one packet."""
        self.socket.send(self._sealer.seal(number, 60 * number, packet(number)))

    def heard(self) -> tuple[int, int, bytes]:
        """Sequence, timestamp and Opus packet of the next datagram. Raises AudioError."""
        self.last_heard = self.socket.recv(2000)
        return self._opener.open(self.last_heard)


class Canary:
    """The device; `start` opens its session, from then on it talks until `stop`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.server = CanaryServer(self.faults)
        self.worst = 0.0  # s that a packet took there and back, since this was last set to 0
        self._device: _Device | None = None
        self._voice: _Voice | None = None
        self._udp: dict[str, Any] = {}
        self._said: dict[int, float] = {}  # packet -> when, of those not yet echoed
        self._spoken = 0
        self._heard = 0  # sequence
        self._track = Track("device", self.faults)
        self._texts_said = 0
        self._texts_told = 0
        self._dead = False  # cannot go on
        self._news = Condition()
        self._over = Event()
        self._thread = Thread(target=self._run, name="canary")

    @property
    def mac(self) -> str:
        """In colon form, for the list of development devices."""
        return f"02:00:00:00:{NUMBER >> 8:02x}:{NUMBER & 255:02x}"

    @property
    def client_id(self) -> str:
        assert self._device is not None
        return self._device.identity.client_id

    @property
    def udp(self) -> dict[str, Any]:
        """The `udp` member of its hello reply: address, key and nonce, for who plays the thief."""
        return self._udp

    def told(self) -> bytes:
        """The datagram that it has heard last."""
        assert self._voice is not None
        return self._voice.last_heard

    def spoof(self, datagram: bytes) -> None:
        """Send a datagram from the canary's own address, as an attacker may who forges it."""
        assert self._voice is not None
        self._voice.socket.send(datagram)

    @property
    def spoken(self) -> int:
        """The sequence number of its latest datagram."""
        return self._spoken

    def start(self, mqtt_port: int) -> None:
        """Connect, say hello and begin to talk."""
        self._device = _Device(("127.0.0.1", mqtt_port), NUMBER)
        assert self._device.log_in() == 0
        self._answer_mcp(self._device, self._device.next(Publish))
        self._device.say(HELLO)
        reply = self._device.told("hello")
        assert reply["session_id"] == SESSION, reply
        self._udp = reply["udp"]
        self._voice = _Voice(self._udp)
        self._thread.start()
        self.beats(1)

    def stop(self) -> None:
        """Be silent, and let everything go."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        if self._device is not None:
            self._device.socket.close()
        if self._voice is not None:
            self._voice.socket.close()
        self.server.close()

    def beats(self, count: int) -> None:
        """Wait until what it says from now on has come back, so many packets of it."""
        wanted = self._spoken + count
        with self._news:
            self._news.wait_for(lambda: self._dead or self._track.last >= wanted, 2 * LATE)
        if self._track.last < wanted:
            self.faults.add(f"device: packet {wanted} did not come back, {self._track.last} did")

    def check(self) -> list[str]:
        """Its faults so far, once the last text and packet said have come back."""
        self.beats(TEXT_EVERY + 1)  # at least one text
        with self._news:
            said = self._texts_said
            self._news.wait_for(lambda: self._dead or self._texts_told >= said, LATE)
        worst, self.worst = self.worst, 0.0
        if self._texts_told < said:
            self.faults.add(f"device: {self._texts_told} of {said} texts came back")
        if worst > LATE:
            self.faults.add(f"device: a packet came back after {worst:.1f} s")
        return list(self.faults.lines)

    # --- its thread ---

    def _run(self) -> None:
        assert self._device is not None
        assert self._voice is not None
        try:
            self._talk(self._device, self._voice)
        except (EOFError, OSError, MqttError, AudioError) as error:
            self.faults.add(f"device: {type(error).__name__}: {error}")
            with self._news:
                self._dead = True
                self._news.notify_all()

    def _talk(self, device: _Device, voice: _Voice) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            self._speak(voice)
            if self._spoken % TEXT_EVERY == 0:
                self._texts_said += 1
                device.send(Publish("device-server", text(self._texts_said)), Pingreq())
            due += FRAME
            self._listen(device, voice, due)

    def _speak(self, voice: _Voice) -> None:
        number = self._spoken + 1
        with self._news:
            self._said[number] = time.monotonic()
            self._spoken = number
        voice.say(number)

    def _listen(self, device: _Device, voice: _Voice, due: float) -> None:
        """Take what comes until it is time for the next packet."""
        while True:
            left = max(0.0, due - time.monotonic())
            ready, _, _ = select.select([device.socket, voice.socket], [], [], left)
            if voice.socket in ready:
                self._hear(voice)
            if device.socket in ready:
                self._read(device)
            if not ready or not left:
                return

    def _hear(self, voice: _Voice) -> None:
        sequence, timestamp, opus = voice.heard()
        if sequence != self._heard + 1:
            self.faults.add(f"device: sequence {sequence} after {self._heard}")
        self._heard = sequence
        with self._news:
            self._track.take(timestamp, opus)
            said = self._said.pop(self._track.last, None)
            if said is not None:
                self.worst = max(self.worst, time.monotonic() - said)
            self._news.notify_all()

    def _read(self, device: _Device) -> None:
        for each in device.arrived():
            if isinstance(each, Publish):
                self._told(device, each)
            elif not isinstance(each, Pingresp):
                self.faults.add(f"device: got {type(each).__name__}")

    def _told(self, device: _Device, publish: Publish) -> None:
        if json.loads(publish.payload)["type"] == "mcp":
            self._answer_mcp(device, publish)
        elif publish.payload == text(self._texts_told + 1):
            with self._news:
                self._texts_told += 1
                self._news.notify_all()
        else:
            self.faults.add(f"device: told {publish.payload[:100]!r}")

    def _answer_mcp(self, device: _Device, publish: Publish) -> None:
        payload = messages.parse(publish.payload)["payload"]
        if "id" in payload:
            error = {"jsonrpc": "2.0", "id": payload["id"], "error": {"message": "Unknown method"}}
            device.say({"type": "mcp", "session_id": "", "payload": error})
