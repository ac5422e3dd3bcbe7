"""A device on blocking sockets, of either family or at a path: a few lines of memory each."""

from __future__ import annotations

import json
import socket
from typing import Any, TypeVar

from tests.support import KEY, PATIENCE
from xzgw.tools.identity import Identity
from xzgw.wire import messages
from xzgw.wire.audio import Cipher
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import Connack, Packet, Publish

P = TypeVar("P")


def mac_of(number: int) -> str:
    """The MAC of that device."""
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


class RawDevice:
    """One MQTT connection."""

    def __init__(self, address: tuple[str, int] | str, number: int, source: str = "") -> None:
        """Connect, without a CONNECT yet.

        Args:
            number: makes the MAC.
            source: the IP address to come from.
        """
        self.identity = Identity(mac=mac_of(number))
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, PATIENCE, (source, 0))
        self._decoder = Decoder(1 << 20)
        self._packets: list[Packet] = []

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(map(encode, packets)))

    def next(self, kind: type[P]) -> P:
        """The next packet of a kind; those before it are dropped. Raises EOFError at the end."""
        while True:
            while self._packets:
                packet = self._packets.pop(0)
                if isinstance(packet, kind):
                    return packet
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._packets += self._decoder.feed(data)

    def log_in(self) -> int:
        """Show good credentials; the return code."""
        self.send(self.identity.credentials(KEY))
        return self.next(Connack).return_code

    def say(self, message: dict[str, Any]) -> None:
        self.send(Publish("device-server", messages.encode(message)))

    def told(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        while True:
            message: dict[str, Any] = json.loads(self.next(Publish).payload)
            if message["type"] == kind:
                return message


class RawVoice:
    """A device's audio, on a UDP socket connected to where the hello reply says."""

    def __init__(self, udp: dict[str, Any], source: str = "") -> None:
        """Take `udp` of the hello reply, and the IP address to come from."""
        family = socket.AF_INET6 if ":" in udp["server"] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind((source, 0))
        self.socket.connect((udp["server"], udp["port"]))
        key, ssrc = bytes.fromhex(udp["key"]), int(udp["nonce"][8:16], 16)
        self._sealer, self._opener = Cipher(key, ssrc), Cipher(key, ssrc)
        self._sequence = 0

    def speak(self, opus: bytes) -> None:
        self._sequence += 1
        self.socket.send(self._sealer.seal(self._sequence, 0, opus))

    def hear(self) -> bytes:
        """The Opus packet of the next datagram."""
        return self._opener.open(self.socket.recv(2000))[2]
