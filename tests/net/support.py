"""A gateway without sockets, and the TCP connection of one device to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.support import KEY, VECTORS
from xzgw.config import Config
from xzgw.core.backends import Backends
from xzgw.core.gateway import Gateway
from xzgw.core.ports import BackendEvents
from xzgw.core.services import Services
from xzgw.net.device import DeviceFactory
from xzgw.net.voice import VoiceProtocol
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import Connect, Packet, Publish

CREDENTIALS = VECTORS["credentials"][0]
CLIENT_ID: str = CREDENTIALS["client_id"]
TOPIC = "devices/p2p/a0_85_e3_f4_49_34"


def credentials(number: int = 0, keep_alive: int = 240) -> Connect:
    """CONNECT as the OTA endpoint would have it, of one of the devices in the vectors."""
    who = VECTORS["credentials"][number]
    password = who["password"].encode("ascii")
    return Connect(who["client_id"], who["username"], password, keep_alive, True, 4, None)


class Dialed:
    """A chat server's connection that never comes about."""

    def __init__(self, events: BackendEvents) -> None:
        self._events = events
        self.closed: list[int] = []

    def send_text(self, text: bytes) -> None:
        raise AssertionError("nothing is open")

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        raise AssertionError("nothing is open")

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        self._events.lost("given up")


class Dialer:
    """Notes what is dialled."""

    def __init__(self) -> None:
        self.dialed: list[Dialed] = []

    def __call__(self, url: str, headers: Any, events: BackendEvents) -> Dialed:
        dialed = Dialed(events)
        self.dialed.append(dialed)
        return dialed


class TcpTransport(StringTransport):
    """A TCP connection; `aborted` and `disconnecting` tell how this end wants it closed."""

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Bench:
    """A gateway on a clock that stands still."""

    def __init__(self, **config: Any) -> None:
        self.clock = Clock()
        self.dialer = Dialer()
        servers = ("ws://chat.example/?from=mqtt_gateway",)
        self.gateway = Gateway(
            Services(
                config=Config(production_servers=servers, signature_key=KEY, **config),
                clock=self.clock,
                now=self.clock.seconds,
                entropy=lambda size: bytes(range(1, size + 1)),
                dial=self.dialer,
                voice=VoiceProtocol({}),
                backends=Backends(self.clock.seconds),
            )
        )
        self.factory = DeviceFactory(self.gateway, self.clock)

    def connection(self, peer: str = "198.51.100.7") -> Tcp:
        """A new TCP connection."""
        return Tcp(self, peer)

    def device(self, number: int = 0, keep_alive: int = 240) -> Tcp:
        """A new TCP connection whose device has been let in; its first packets are read."""
        tcp = self.connection()
        tcp.send(credentials(number, keep_alive))
        tcp.packets()
        return tcp


class Tcp:
    """One TCP connection, seen from the device."""

    def __init__(self, bench: Bench, peer: str) -> None:
        self.transport = TcpTransport(
            hostAddress=IPv4Address("TCP", "192.0.2.1", 1883),
            peerAddress=IPv4Address("TCP", peer, 50000),
        )
        self.protocol = bench.factory.buildProtocol(None)
        self._decoder = Decoder(1 << 20)
        self.protocol.makeConnection(self.transport)

    @property
    def closing(self) -> bool:
        """Whether the gateway closes, sending what is queued."""
        return bool(self.transport.disconnecting)

    @property
    def aborted(self) -> bool:
        """Whether the gateway has cut the connection off."""
        return self.transport.aborted

    def send(self, *packets: Packet) -> None:
        """The device sends packets, all in one segment."""
        self.send_bytes(b"".join(map(encode, packets)))

    def send_bytes(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def packets(self) -> list[Packet]:
        """What the gateway has sent since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return list(self._decoder.feed(data))

    def replies(self) -> list[Packet]:
        """The same without what it publishes."""
        return [packet for packet in self.packets() if not isinstance(packet, Publish)]

    def lose(self, clean: bool = True) -> None:
        """The connection ends."""
        error = ConnectionDone() if clean else ConnectionLost()
        self.protocol.connectionLost(Failure(error))


def fired(deferred: Deferred[Any]) -> bool:
    """Whether it has its result by now."""
    return bool(deferred.called)
