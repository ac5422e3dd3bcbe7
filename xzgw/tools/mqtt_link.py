"""The MQTT connection of a simulated device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from xzgw.tools.steps import StepError, Watch
from xzgw.wire.mqtt import Decoder, MqttError, encode
from xzgw.wire.packets import Connack, Connect, Disconnect, Packet, Pingreq, Pingresp, Publish

MAX_PAYLOAD = 1 << 20  # bytes; a test tool takes whatever a gateway may forward
CONNECT_SECONDS = 10.0
KEPT = 100  # packets nobody waited for

# All codes that the decoder lets through.
_REFUSALS = {
    1: "protocol version not accepted",
    2: "client id not accepted",
    3: "server unavailable",
    4: "bad user name or password; does the gateway have the same signature key?",
    5: "not authorized; does the gateway have the same signature key?",
}

P = TypeVar("P", bound=Packet)


class Refused(StepError):
    """CONNACK said no; `code` is its return code, 1 to 5."""

    def __init__(self, code: int) -> None:
        super().__init__(f"MQTT CONNECT: refused, code {code}: {_REFUSALS[code]}")
        self.code = code


class _Client(Protocol):
    transport: ITCPTransport

    def __init__(self, on_packet: Callable[[Packet], None], on_lost: Callable[[str], None]) -> None:
        self._on_packet = on_packet
        self._on_lost = on_lost
        self._decoder = Decoder(MAX_PAYLOAD)
        self._fault: str | None = None

    def dataReceived(self, data: bytes) -> None:
        try:
            for packet in self._decoder.feed(data):
                self._on_packet(packet)
        except MqttError as e:
            self._fault = f"the gateway broke MQTT: {e}"
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._on_lost(self._fault or f"the MQTT connection ended: {reason.getErrorMessage()}")


class MqttLink:
    """One MQTT connection to a gateway. Each wait errbacks with StepError, which names the step."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP, IReactorTime and IReactorPluggableNameResolver
        on_payload: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Take what to call with each payload pushed to us, and with why the connection ended."""
        self._reactor = reactor
        self._on_payload = on_payload
        self._on_lost = on_lost
        self._watch = Watch(reactor)
        self._client: _Client | None = None
        self._packets: deque[Packet] = deque(maxlen=KEPT)
        self._keep_alive = LoopingCall(self.send, Pingreq())
        self._keep_alive.clock = reactor

    async def connect(
        self,
        host: str,
        port: int,
        credentials: Connect,
        tls: IOpenSSLClientConnectionCreator | None = None,
    ) -> None:
        """Connect over TCP, TLS if so wanted, then MQTT; PINGREQ as often as CONNECT promises.

        Raises StepError: Refused where CONNACK says no.
        """
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=CONNECT_SECONDS)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        self._watch = Watch(self._reactor)
        self._packets.clear()
        try:
            client = await connectProtocol(endpoint, _Client(self._received, self._lost))
        except (ConnectError, DNSLookupError) as e:
            raise StepError(f"TCP connect to {host} port {port}: {e}") from None
        self._client = client
        self.send(credentials)
        connack = await self._expect("MQTT CONNECT", Connack)
        if connack.return_code:
            raise Refused(connack.return_code)
        if credentials.keep_alive:
            self._keep_alive.start(credentials.keep_alive, now=False)

    def send(self, *packets: Packet) -> None:
        """Write the packets in one piece. Raises StepError without a connection."""
        if self._client is None:
            raise StepError("sending: there is no MQTT connection")
        self._client.transport.write(b"".join(encode(packet) for packet in packets))

    def ping(self) -> Deferred[Pingresp]:
        """PINGREQ; fires with its answer."""
        self.send(Pingreq())
        return self._expect("MQTT PINGREQ", Pingresp)

    def disconnect(self) -> Deferred[bool]:
        """DISCONNECT and close; fires when the connection is gone, at once without one."""
        if self._client is not None:
            self.send(Disconnect())
            self._client.transport.loseConnection()
        return self.gone()

    def vanish(self) -> Deferred[bool]:
        """Reset the connection, as a device does that loses its power; fires when it is gone."""
        if self._client is not None:
            self._client.transport.abortConnection()
        return self.gone()

    def gone(self, seconds: float = 5.0) -> Deferred[bool]:
        """Fire when the connection has ended, from whichever side."""
        return self._watch.until(
            "end of the MQTT connection", lambda: True if self._client is None else None, seconds
        )

    def _received(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self._on_payload(packet.payload)
        else:
            self._packets.append(packet)
            self._watch.changed()

    def _lost(self, reason: str) -> None:
        self._client = None
        if self._keep_alive.running:
            self._keep_alive.stop()
        watch = self._watch  # whoever waits may connect again at once, with a watch of its own
        self._on_lost(reason)
        watch.changed()
        watch.close(reason)

    def _expect(self, step: str, kind: type[P]) -> Deferred[P]:
        def take() -> P | None:
            for packet in self._packets:
                if isinstance(packet, kind):
                    self._packets.remove(packet)
                    return packet
            return None

        return self._watch.until(step, take, CONNECT_SECONDS)
