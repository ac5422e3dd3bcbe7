"""A device on a connection that the test has opened, in whatever way."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

from tests.support import KEY, PATIENCE
from xzgw.tools.identity import Identity
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import Connack, Packet, Pingreq, Pingresp, Publish

HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}


class StreamDevice:
    """MQTT with the project's own codec; everything blocks."""

    def __init__(self, connection: socket.socket, number: int = 1) -> None:
        """Connect; the number makes the MAC."""
        self.identity = Identity(mac=f"02:00:00:00:01:{number:02x}")
        self._socket = connection
        self._socket.settimeout(PATIENCE)
        self._decoder = Decoder(1 << 20)
        self._packets: list[Packet] = []
        self._send(self.identity.credentials(KEY))
        packet = self._next()
        assert packet == Connack(0), packet

    def say(self, message: dict[str, Any]) -> None:
        self._send(Publish("device-server", json.dumps(message).encode()))

    def ping(self) -> None:
        """Ask whether the gateway is there; returns when it has answered."""
        self._send(Pingreq())
        while not isinstance(self._next(), Pingresp):
            pass  # what it publishes

    def close(self) -> None:
        self._socket.close()

    def _send(self, packet: Packet) -> None:
        self._socket.sendall(encode(packet))

    def _next(self) -> Packet:
        while not self._packets:
            data = self._socket.recv(65536)
            assert data, "the gateway has closed"
            self._packets += self._decoder.feed(data)
        return self._packets.pop(0)


def open_tls(port: int, ca: str, host: str = "localhost") -> ssl.SSLSocket:
    """A TLS connection to a port of this machine, verified."""
    context = ssl.create_default_context(cafile=ca)
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    return context.wrap_socket(connection, server_hostname=host)
