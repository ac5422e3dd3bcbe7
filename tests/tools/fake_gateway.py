"""A gateway of a few lines, to test the simulated device without ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ITCPTransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from xzgw.tools.steps import Watch
from xzgw.wire import messages
from xzgw.wire.audio import Cipher, nonce
from xzgw.wire.messages import Json
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import Connack, Connect, Disconnect, Packet, Pingreq, Pingresp, Publish

KEY = bytes(range(16))
SSRC = 0x12345678


class _Line(Protocol):
    transport: ITCPTransport

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self._decoder = Decoder(1 << 20)

    def dataReceived(self, data: bytes) -> None:
        for packet in self._decoder.feed(data):
            self._gateway.on_packet(self, packet)

    def send(self, *packets: Packet) -> None:
        self.transport.write(b"".join(encode(packet) for packet in packets))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gateway.line = None
        self._gateway.watch.changed()


class _Audio(DatagramProtocol):
    transport: IUDPTransport

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def datagramReceived(self, datagram: bytes, address: Any) -> None:
        self._gateway.on_datagram(datagram, address)


class FakeGateway:
    """Takes any device; answers hello unless told otherwise; remembers what it got."""

    def __init__(self, reactor: Any) -> None:
        self.watch = Watch(reactor)
        self.line: _Line | None = None
        self.connects: list[Connect] = []
        self.packets: list[Packet] = []  # all but CONNECT and PUBLISH
        self.texts: list[Json] = []
        self.audio: list[tuple[int, int, bytes]] = []  # sequence, timestamp, opus
        self.return_code = 0
        self.on_hello: Callable[[], None] = self.answer_hello
        self.cipher = Cipher(KEY, SSRC)
        self.address: Any = None  # of the device's audio
        self._reactor = reactor
        self._udp = _Audio(self)

    async def start(self) -> None:
        factory = Factory.forProtocol(lambda: _Line(self))
        factory.noisy = False
        self._tcp_port = self._reactor.listenTCP(0, factory, interface="127.0.0.1")
        self._udp_port = self._reactor.listenUDP(0, self._udp, interface="127.0.0.1")
        self.port = self._tcp_port.getHost().port
        self.udp_port = self._udp_port.getHost().port

    async def stop(self) -> None:
        """Close both ports once no device is connected."""
        await self.watch.until("device leaves", lambda: self.line is None or None, 5)
        await self._tcp_port.stopListening()
        await self._udp_port.stopListening()

    def on_packet(self, line: _Line, packet: Packet) -> None:
        match packet:
            case Connect():
                self.line = line
                self.connects.append(packet)
                line.send(Connack(self.return_code))
            case Publish():
                assert packet.topic == "device-server"
                self.texts.append(messages.parse(packet.payload))
                if self.texts[-1]["type"] == "hello":
                    self.on_hello()
            case _:
                self.packets.append(packet)
                if isinstance(packet, Pingreq):
                    line.send(Pingresp())
                elif isinstance(packet, Disconnect):
                    line.transport.loseConnection()
        self.watch.changed()

    def hello_reply(self, session_id: str = "s-1", **udp: Any) -> Json:
        told = {"server": "127.0.0.1", "port": self.udp_port, "encryption": "aes-128-ctr"}
        told |= {"key": KEY.hex(), "nonce": nonce(SSRC).hex(), **udp}
        return {
            "type": "hello",
            "version": 3,
            "session_id": session_id,
            "transport": "udp",
            "udp": told,
        }

    def answer_hello(self) -> None:
        self.push(self.hello_reply())

    def push(self, *texts: Json | bytes) -> None:
        """Publish to the device, all in one write."""
        assert self.line is not None
        payloads = [t if isinstance(t, bytes) else messages.encode(t) for t in texts]
        self.line.send(*(Publish("devices/p2p/x", payload) for payload in payloads))

    def drop_device(self) -> None:
        assert self.line is not None
        self.line.transport.abortConnection()

    def write_raw(self, data: bytes) -> None:
        assert self.line is not None
        self.line.transport.write(data)

    def on_datagram(self, datagram: bytes, address: Any) -> None:
        self.address = address
        self.audio.append(self.cipher.open(datagram))
        self.watch.changed()

    def send_audio(self, sequence: int, timestamp: int, opus: bytes) -> None:
        self.send_datagram(self.cipher.seal(sequence, timestamp, opus, 0x80))

    def send_datagram(self, datagram: bytes) -> None:
        self._udp.transport.write(datagram, self.address)
