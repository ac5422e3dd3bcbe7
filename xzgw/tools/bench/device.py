"""One device of the bench's fleet: an MQTT connection and a voice, and no more work than that.

It answers the gateway's MCP questions as firmware does, so that what a connection costs includes
them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns

from xzgw.tools.bench.figures import Flow
from xzgw.tools.bench.frames import Ear, Frames, Window
from xzgw.tools.bench.loop import READ, WRITE, Loop
from xzgw.tools.bench.orders import Role
from xzgw.tools.bench.voice import BenchVoice
from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_voice import Session, parse_hello_reply
from xzgw.tools.identity import Identity
from xzgw.tools.steps import StepError
from xzgw.wire import messages
from xzgw.wire.mqtt import Decoder, MqttError, encode
from xzgw.wire.packets import Connack, Disconnect, Packet, Pingreq, Publish

_MAX_PAYLOAD = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all devices of a process share.

    Attributes:
        settled: told when a device's step has come about or failed.
        lost: told when a device fails that had no step under way, and why.
    """

    role: Role
    loop: Loop
    frames: Frames
    window: Window
    mcp: DeviceMcp
    settled: Callable[[BenchDevice, str | None], None]
    lost: Callable[[BenchDevice, str], None]


class BenchDevice:
    """Connects, opens a session, speaks and listens."""

    __slots__ = (
        "_around",
        "_decoder",
        "_identity",
        "_mqtt",
        "_session_id",
        "_voice",
        "since",
        "waiting",
    )

    def __init__(self, around: Surroundings, number: int) -> None:
        """The number, below 2**24, makes the MAC."""
        octets = ":".join(f"{octet:02x}" for octet in number.to_bytes(3, "big"))
        self.waiting = ""  # the step under way
        self.since = 0  # ns
        self._identity = Identity(mac=f"02:be:5c:{octets}", group="GID_bench")
        self._around = around
        self._decoder = Decoder(_MAX_PAYLOAD)
        self._mqtt: socket.socket | None = None
        self._voice: BenchVoice | None = None  # while it has a session
        self._session_id = ""

    @property
    def is_open(self) -> bool:
        """Whether it has a session."""
        return self._voice is not None

    def connect(self) -> None:
        """Begin to connect."""
        self._begin("MQTT CONNECT")
        self._mqtt = socket.socket(self._around.role.family)
        self._mqtt.setblocking(False)
        self._mqtt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mqtt.connect_ex(self._around.role.gateway)
        self._around.loop.watch(self._mqtt.fileno(), WRITE, self._reached)

    def hello(self) -> None:
        """Begin to open a session."""
        self._begin("hello")
        audio = {"format": "opus", "sample_rate": 16000, "channels": 1}
        message = {"type": "hello", "version": 3, "transport": "udp", "features": {"mcp": True}}
        self._say(
            {**message, "audio_params": {**audio, "frame_duration": self._around.role.frame_ms}}
        )

    def listen(self, flow: Flow) -> None:
        """Count from now on what is heard there; and be alive for the gateway."""
        if self._voice is not None:
            self._voice.ear.flow = flow
        self._send(Pingreq())

    def speak(self, stamp: int) -> None:
        """Send one frame; without a session it is lost."""
        if self._voice is not None:
            self._voice.speak(stamp)

    def leave(self) -> None:
        """End session and connection."""
        if self._voice is not None:
            self._say({"type": "goodbye", "session_id": self._session_id})
        self._send(Disconnect())
        self._close()

    def fail(self, reason: str) -> None:
        """Give up."""
        if self._mqtt is None:
            return
        step, self.waiting = self.waiting, ""
        self._close()
        if step:
            self._around.settled(self, f"{step}: {reason}")
        else:
            self._around.lost(self, reason)

    def _begin(self, step: str) -> None:
        self.waiting = step
        self.since = monotonic_ns()

    def _done(self) -> None:
        self.waiting = ""
        self._around.settled(self, None)

    def _close(self) -> None:
        if self._voice is not None:
            self._voice.close()
            self._voice = None
        if self._mqtt is not None:
            self._around.loop.forget(self._mqtt.fileno())
            self._mqtt.close()
            self._mqtt = None

    def _say(self, message: messages.Json) -> None:
        self._send(Publish("device-server", messages.encode(message)))

    def _send(self, packet: Packet) -> None:
        if self._mqtt is None:
            return
        data = encode(packet)
        try:
            sent = self._mqtt.send(data)
        except OSError as e:
            self.fail(e.strerror or str(e))
            return
        if sent < len(data):
            self.fail("the gateway does not read")

    def _reached(self, _events: int) -> None:
        if self._mqtt is None:
            return
        error = self._mqtt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.fail(os.strerror(error))
            return
        self._around.loop.watch(self._mqtt.fileno(), READ, self._readable)
        self._send(self._identity.credentials(self._around.role.key))

    def _readable(self, _events: int) -> None:
        if self._mqtt is None:
            return
        try:
            data = self._mqtt.recv(65536)
            for packet in self._decoder.feed(data):
                self._received(packet)
        except BlockingIOError:
            return
        except OSError as e:
            self.fail(e.strerror or str(e))
            return
        except MqttError as e:
            self.fail(f"the gateway broke MQTT: {e}")
            return
        if not data:
            self.fail("the gateway closed the connection")

    def _received(self, packet: Packet) -> None:
        if isinstance(packet, Connack) and self.waiting == "MQTT CONNECT":
            if packet.return_code:
                self.fail(f"refused, code {packet.return_code}")
            else:
                self._done()
        elif isinstance(packet, Publish):
            try:
                self._told(messages.parse(packet.payload))
            except (messages.MessageError, StepError) as e:
                self.fail(str(e).removeprefix("hello: "))

    def _told(self, message: messages.Json) -> None:
        match message.get("type"):
            case "mcp":
                reply = self._around.mcp.answer(message.get("payload"))
                if reply is not None:
                    self._say({"type": "mcp", "session_id": "", "payload": reply})
            case "hello" if self.waiting == "hello":
                self._open(parse_hello_reply(message))
                self._done()
            case "error":
                self.fail(f"the gateway says: {message.get('message')}")
            case "goodbye" if self._voice is not None:
                self.fail("the gateway ended the session")

    def _open(self, session: Session) -> None:
        around = self._around
        ear = Ear(around.frames, around.window, Flow())
        self._voice = BenchVoice(around.loop, session, around.frames, ear)
        self._session_id = session.session_id
        self._voice.speak(monotonic_ns())  # tells the gateway the address
