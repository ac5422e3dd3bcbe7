"""A gateway without sockets, and the TCP connection of one device to it."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fakes import CONFIG, CREDENTIALS, Surroundings
from xzgw.core.gateway import Gateway
from xzgw.net.device_factory import DeviceFactory
from xzgw.net.overflow import Overflow
from xzgw.wire.mqtt import Decoder, encode, unavailable
from xzgw.wire.packets import Connect, Packet, Publish

CLIENT_ID: str = CREDENTIALS[0]["client_id"]
TOLD = 3  # connections at a time that there is no room for and that are told so
TOPIC = "devices/p2p/a0_85_e3_f4_49_34"


def credentials(number: int = 0, keep_alive: int = 240) -> Connect:
    """CONNECT as the OTA endpoint would have it, of one of the devices in the vectors."""
    who = CREDENTIALS[number]
    password = who["password"].encode("ascii")
    return Connect(who["client_id"], who["username"], password, keep_alive, True, 4, None)


class Handle:
    """The options that were set on a socket."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.options: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert level == socket.IPPROTO_TCP
        self.options[option] = value


class TcpTransport(StringTransport):
    """A TCP connection; `aborted` and `disconnecting` tell how this end wants it closed."""

    aborted = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.handle = Handle()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def getHandle(self) -> Handle:
        return self.handle

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Bench:
    """A gateway on a clock that stands still."""

    def __init__(self, **config: Any) -> None:
        around = Surroundings(replace(CONFIG, **config))
        self.clock = around.clock
        self.dials = around.dialer.dials
        self.gateway = Gateway(around.services)
        self.overflow = Overflow(self.clock, unavailable, TOLD)
        self.factory = DeviceFactory(self.gateway, self.clock, self.overflow.protocol)

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
        address = IPv4Address("TCP", peer, 50000)
        self.transport = TcpTransport(
            hostAddress=IPv4Address("TCP", "192.0.2.1", 1883), peerAddress=address
        )
        self.protocol = bench.factory.buildProtocol(address)
        self._decoder = Decoder(1 << 20)
        self.protocol.makeConnection(self.transport)

    @property
    def producer(self) -> IPushProducer:
        """What the transport tells when the device does not read."""
        producer: Any = self.transport.producer
        assert self.transport.streaming
        return cast(IPushProducer, producer)

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
