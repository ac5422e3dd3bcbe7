"""MQTT 3.1 and 3.1.1: bytes to packets and back, without a socket.

This module cuts the stream into packets and bounds them; `mqtt_decode` knows each packet type,
`mqtt_fields` the fields, `mqtt_encode` the way back. Both directions are decoded, so that a
simulated device can use the same code. What depends on earlier packets is left to the connection's
owner (first packet is CONNECT, only one CONNECT, packet id bookkeeping), except for one thing: a
CONNECT of level 3 turns on what MQTT 3.1 allows.

Every check is made as soon as its bytes are there, in the order of the bytes, and nothing is
buffered beyond one packet that has passed all checks so far. Hence the outcome depends on the
bytes alone and never on how they were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator

from xzgw.wire.mqtt_decode import PUBLISH, Kind, kind_of
from xzgw.wire.mqtt_encode import encode
from xzgw.wire.mqtt_fields import MqttError, Reader
from xzgw.wire.packets import Connack, Connect, Packet

__all__ = ["Decoder", "MqttError", "encode", "unavailable"]

_LENGTH_BYTES = 4
_SERVER_UNAVAILABLE = 3  # MQTT 3.1.1 table 3.1


class Decoder:
    """One direction of one connection.

    Args:
        max_payload: bytes that one PUBLISH may carry, topic and headers not counted.
    """

    __slots__ = ("_buffer", "_failure", "_level", "_max_payload", "_need")

    def __init__(self, max_payload: int) -> None:
        self._max_payload = max_payload
        self._buffer: bytearray | None = None  # the beginning of a packet
        self._need = 0  # how long _buffer must be before another look is worth it
        self._level = 0
        # Not the error itself, whose traceback would keep the bytes alive.
        self._failure: tuple[str, int | None] | None = None

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Yield the packets that these bytes complete; to be iterated to its end.

        Raises:
            MqttError: close the connection. Packets before the fault come first; every later
                call fails for the same reason.
        """
        if self._failure is not None:
            raise MqttError(*self._failure)
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._need:
                return
            data, self._buffer = bytes(self._buffer), None
        start = 0
        try:
            while (frame := self._frame(data, start)) is not None:
                kind, body, end = frame
                yield self._decode(kind, data[start] & 0x0F, Reader(kind.name, data, body, end))
                start = end
        except MqttError as error:
            self._failure = str(error), error.return_code
            raise
        if start < len(data):
            self._buffer = bytearray(data[start:])

    def _frame(self, data: bytes, start: int) -> tuple[Kind, int, int] | None:
        """Type, body and end of the packet at `start`; None, and _need set, until all is there."""
        self._need = len(data) - start + 1
        if start == len(data):
            return None
        kind = kind_of(data[start], self._level)
        length = _remaining_length(data, start + 1)
        if length is None:
            return None
        remaining, body = length
        self._check_length(kind, remaining)
        if kind is PUBLISH:
            if body + 2 > len(data):
                self._need = body + 2 - start
                return None
            self._check_payload(data, start, body, remaining)
        self._need = body + remaining - start
        return (kind, body, body + remaining) if body + remaining <= len(data) else None

    def _check_length(self, kind: Kind, remaining: int) -> None:
        longest = kind.longest + (self._max_payload if kind is PUBLISH else 0)
        if remaining > longest and kind is PUBLISH:
            raise self._oversize(f"PUBLISH of {remaining} bytes")
        if not kind.shortest <= remaining <= longest:
            wanted = f"{kind.shortest} to {longest}" if kind.shortest < longest else f"{longest}"
            raise MqttError(f"MQTT-4.8.0-1: {kind.name} of {remaining} bytes, not {wanted}")

    def _check_payload(self, data: bytes, start: int, body: int, remaining: int) -> None:
        topic = data[body] << 8 | data[body + 1]
        payload = remaining - 2 - topic - (2 if data[start] & 6 else 0)
        if payload < 0:
            raise MqttError("MQTT-4.8.0-1: PUBLISH shorter than its fields")
        if payload > self._max_payload:
            raise self._oversize(f"PUBLISH payload of {payload} bytes")

    def _oversize(self, what: str) -> MqttError:
        return MqttError(f"{what} exceeds max_mqtt_payload_size of {self._max_payload} bytes")

    def _decode(self, kind: Kind, flags: int, reader: Reader) -> Packet:
        packet = kind.decode(reader, flags)
        if isinstance(packet, Connect):
            self._level = packet.level
        return packet


def unavailable(received: bytes) -> bytes | None:
    """What a connection gets that there is no room for, whatever its credentials.

    Args:
        received: everything so far.
    Returns:
        The bytes to send before closing, which are none for what is no CONNECT; None while that is
        incomplete.
    """
    try:
        packet = next(Decoder(0).feed(received), None)
    except MqttError as error:
        return b"" if error.return_code is None else encode(Connack(error.return_code))
    if packet is None:
        return None
    return encode(Connack(_SERVER_UNAVAILABLE)) if isinstance(packet, Connect) else b""


def _remaining_length(data: bytes, start: int) -> tuple[int, int] | None:
    """The length at `start` and where the body begins; None while it is incomplete.

    MQTT 3.1.1 section 2.2.3: seven bits a byte, lowest first, the high bit says that more follow.
    Longer forms than needed are legal.
    """
    value = 0
    for index, byte in enumerate(data[start : start + _LENGTH_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, start + index + 1
    if len(data) - start >= _LENGTH_BYTES:
        raise MqttError("MQTT-4.8.0-1: remaining length of more than four bytes")
    return None
