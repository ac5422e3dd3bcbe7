"""The MQTT side: one connection of one device.

Packets are wire.mqtt's, and what they are answered with is core.mqtt_service's; here are the
CONNECT, the keep-alive, the bounds and the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.core.device import Device
from xzgw.core.gateway import AtLimit, Gateway, Refused
from xzgw.core.mqtt_service import MqttService
from xzgw.core.trace import FROM_DEVICE, TO_DEVICE
from xzgw.net.tcp import LOCAL, Backlog, accepted_at, host_of, prepare, quiet_for
from xzgw.wire.mqtt import Decoder, MqttError, encode
from xzgw.wire.packets import Connack, Connect, Disconnect, Packet, Publish

CONNECT_TIME = 10.0  # s from the connection to its CONNECT
CLOSE_TIME = 3.0  # s to take what is queued before a closed connection is cut off
LAST_CONNECT_TIME = 1.0  # s for a CONNECT still to come when the gateway stops
MAX_BACKLOG = 256 * 1024  # bytes waiting for a device that does not read
CONNECT = 1  # packet type
NOT_CONNECT = "[MQTT-3.1.0-1] the first packet is not CONNECT"


class DeviceProtocol(Protocol):
    """One TCP connection (core.ports.DeviceLink)."""

    transport: Any  # TCP or TLS; Twisted types it as what files and pipes can do, too
    _log = Logger()

    def __init__(
        self,
        gateway: Gateway,
        clock: IReactorTime,
        on_lost: Callable[[DeviceProtocol], None],
        stranger: str,
    ) -> None:
        """
        Args:
            on_lost: told once, when the connection is no more.
            stranger: the address that the connection is counted for, as one that has shown no
                good credentials yet.
        """
        self._gateway = gateway
        self._clock = clock
        self._on_lost = on_lost
        self._decoder = Decoder(gateway.services.config.max_mqtt_payload_size)
        self._device: Device | None = None
        self._name = "?"  # for the log: the client id once known, before that the address
        self._topic = ""  # the device's own
        self._timer: IDelayedCall | None = None
        self._silence = 0.0  # s after which the keep-alive ends the connection
        self._service: MqttService | None = None  # once it is let in
        self._backlog = Backlog(MAX_BACKLOG)
        self._fresh = True  # nothing received yet
        self._refused = False  # its CONNECT; the answer may be waiting
        self._why: str | None = None  # why this end closes
        self._stranger: str | None = stranger  # None once settled with the gateway's limits
        self._expected = False  # whether it is let in even if the gateway is drained
        self._quiet = False  # one of many refused: counted, not logged

    # --- Twisted's callbacks ---

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        host = host_of(peer)
        self._name = host if host == LOCAL else f"{host}:{peer.port}"
        since = accepted_at(self.transport, self._clock.seconds())
        self._expected = self._gateway.services.limits.expect(since)
        prepare(self.transport)
        self.transport.registerProducer(self._backlog, True)
        self._timer = self._clock.callLater(CONNECT_TIME, self.close, "no CONNECT in time")

    def dataReceived(self, data: bytes) -> None:
        if self._fresh and data:
            self._fresh = False
            if data[0] >> 4 != CONNECT:  # told before its body takes memory
                self.close(NOT_CONNECT)
        if self._over():
            return
        try:
            for packet in self._decoder.feed(data):
                self._received(packet)
                if self._over():
                    return
        except MqttError as error:
            self._violated(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()
        why = self._why = self._why or f"connection lost: {reason.getErrorMessage()}"
        if self._device is None:
            self._tell_stranger(why)
        else:
            self._log.info("disconnect: {name}: {why}", name=self._name, why=why)
            self._gateway.leave(self._device, why)
        self._settle()
        self._on_lost(self)
        # What they hold may be large, and this object waits for the garbage collector.
        self._decoder, self._service, self.transport = Decoder(0), None, None

    # --- core.ports.DeviceLink ---

    def publish(self, payload: bytes) -> None:
        self._write(Publish(self._topic, payload))

    def close(self, reason: str) -> None:
        if self._why is not None:
            return
        self._why = reason
        self._stop_timer()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._timer = self._clock.callLater(CLOSE_TIME, self.transport.abortConnection)

    def quiet_for(self) -> float | None:
        return quiet_for(self.transport)

    def show_out(self, reason: str) -> None:
        """Close, as the gateway stops; a CONNECT that is on its way is waited for and answered."""
        if self._device is not None or self._over():
            self.close(reason)
            return
        self._stop_timer()
        self._timer = self._clock.callLater(LAST_CONNECT_TIME, self.close, reason)

    def abort(self, reason: str) -> None:
        """Close without sending what is queued."""
        self.close(reason)
        if self.transport is not None:
            self.transport.abortConnection()

    # --- packets ---

    def _over(self) -> bool:
        """Whether nothing more is to be taken, MQTT-3.1.4-5, MQTT-3.14.4-2."""
        return self._refused or self._why is not None

    def _received(self, packet: Packet) -> None:
        if self._device is None:
            if not isinstance(packet, Connect):
                raise MqttError(NOT_CONNECT)
            self._connect(packet)
            return
        self._device.seen_at = self._clock.seconds()
        if self._timer is not None:
            self._timer.reset(self._silence)  # MQTT-3.1.2-24
        self._trace(self._name, FROM_DEVICE, packet)
        if isinstance(packet, Disconnect):
            self.close("device sent DISCONNECT")
        elif self._service is not None:
            self._service.take(packet)

    def _connect(self, connect: Connect) -> None:
        self._stop_timer()
        self._trace(connect.client_id, FROM_DEVICE, connect)
        ip, local_ip = host_of(self.transport.getPeer()), host_of(self.transport.getHost())
        try:
            device = self._gateway.admit(connect, self, ip, local_ip, self._expected)
        except Refused as error:
            self._refused = True
            delay = self._gateway.refused(connect, ip, error)
            self._quiet = isinstance(error, AtLimit) or self._gateway.refusals.over(ip)
            if delay:
                self._timer = self._clock.callLater(delay, self._refuse, connect, error)
            else:
                self._refuse(connect, error)
            return
        self._settle()
        self._device = device
        self._service = MqttService(device, self._write, self._publish_topic)
        self._name = connect.client_id
        self._topic = device.peer.identity.topic
        self._silence = connect.keep_alive * 1.5
        if self._silence:
            self._timer = self._clock.callLater(
                self._silence, self.close, f"silent for 1.5 x keep-alive {connect.keep_alive} s"
            )
        self._write(Connack(0))  # MQTT-3.1.4-4, MQTT-3.2.2-1
        self._log.info(
            "connect: {name} from {ip} keepalive={keep_alive}s",
            name=self._name,
            ip=device.peer.ip,
            keep_alive=connect.keep_alive,
        )
        device.start()

    def _refuse(self, connect: Connect, why: Refused) -> None:
        self._write(Connack(why.return_code))  # MQTT-3.2.2-4
        self.close(f"refused {connect.client_id[:200]!r}: {why}")  # MQTT-3.2.2-5

    def _publish_topic(self) -> str:
        return self._gateway.services.config.publish_topic

    def _violated(self, error: MqttError) -> None:
        if error.return_code is not None and self._device is None:
            self._write(Connack(error.return_code))
        self.close(str(error))

    def _write(self, packet: Packet) -> None:
        if self._why is not None:
            return
        data = encode(packet)
        if self._backlog.add(len(data)):
            self.abort(f"device does not read, {MAX_BACKLOG // 1024} KiB are waiting for it")
            return
        self._trace(self._name, TO_DEVICE, packet)
        self.transport.write(data)

    def _trace(self, client_id: str, way: str, packet: Packet) -> None:
        traces = self._gateway.services.traces
        if traces.running:
            traces.packet(client_id, way, packet)

    def _tell_stranger(self, why: str) -> None:
        """It was no device; of many such there is no line each."""
        if not self._refused and self._stranger is not None:
            self._quiet = not self._gateway.no_device(self._stranger)
        if not self._quiet:
            self._log.info("no device: {name}: {why}", name=self._name, why=why)
        elif self._gateway.services.config.debug:
            self._log.debug("no device: {name}: {why}", name=self._name, why=why)

    def _settle(self) -> None:
        if self._stranger is not None:
            self._gateway.services.limits.settled(self._stranger, self._expected)
            self._stranger = None

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
