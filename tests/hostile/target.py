"""What the hostile suite attacks: a gateway process, and a chat server for everybody."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from tests.hostile.canary import Canary
from tests.raw_device import RawDevice
from tests.support import PATIENCE, SPEECH, ChatServer, GatewayProcess
from xzgw.wire.audio import server_audio

PLAYED = server_audio(0, 0, SPEECH[0])


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it comes true in time; for what can only be asked for again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class Crowd(ChatServer):
    """A chat server for attackers' devices: greets everybody, and echoes everything.

    A text that begins with `{"type":"echo","repeat":100,` it sends so many times, and for
    `{"type":"play","repeat":100}` it sends so many packets of audio.
    """

    def _handle(self, connection: ServerConnection) -> None:
        try:
            hello = json.loads(connection.recv(PATIENCE))
            params = hello.get("audio_params")
            session = str(connection.id)
            reply = {"type": "hello", "session_id": session, "audio_params": params}
            connection.send(json.dumps(reply))
            for message in connection:
                answer = PLAYED if '"play"' in str(message)[:20] else message
                for _ in range(_repeat(message)):
                    connection.send(answer)
        except (ConnectionClosed, TimeoutError):
            pass  # hung up, as attackers do


def _repeat(message: str | bytes) -> int:
    pattern = r'{"type":"(?:echo|play)","repeat":(\d+)\b'
    found = re.match(pattern, message) if type(message) is str else None
    return int(found[1]) if found else 1


class Gateway(GatewayProcess):
    """The process, seen from outside."""

    @property
    def udp_port(self) -> int:
        """Where audio goes; waits until it is open."""
        return int(self.wait_for(r"audio over UDP at 127\.0\.0\.1:(\d+)")[1])

    @property
    def api_port(self) -> int:
        """Where the admin API is; waits until it is open."""
        return int(self.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])

    def descriptors(self) -> int:
        """How many it has open; 0 if it is dead."""
        try:
            return len(os.listdir(f"/proc/{self._process.pid}/fd"))
        except OSError:
            return 0

    def is_alive(self) -> bool:
        return self._process.poll() is None


@dataclass(frozen=True, slots=True)
class Target:
    """What a case attacks."""

    gateway: Gateway
    canary: Canary

    @property
    def address(self) -> tuple[str, int]:
        """Of MQTT."""
        return "127.0.0.1", self.gateway.mqtt_port

    @property
    def udp(self) -> tuple[str, int]:
        return "127.0.0.1", self.gateway.udp_port

    def connect(self) -> socket.socket:
        """A TCP connection to the MQTT port."""
        return socket.create_connection(self.address, PATIENCE)

    def device(self, number: int) -> RawDevice:
        """A device that is connected and logged in; the caller closes its socket."""
        device = RawDevice(self.address, number)
        code = device.log_in()
        assert code == 0, f"CONNACK {code}"
        return device
