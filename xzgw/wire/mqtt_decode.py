"""What each MQTT packet type must look like: flags, length and body.

MQTT 3.1 differs from 3.1.1 in few places, each marked "3.1:" below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xzgw.wire.mqtt_fields import MqttError, Reader
from xzgw.wire.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)

_CONTROL_LIMIT = 16 * 1024  # bytes after the fixed header, where the type has no length of its own
LEVEL_3_1 = 3
_LEVELS = {b"MQIsdp": LEVEL_3_1, b"MQTT": 4}

# Connect flags; bits 3 and 4 are the will's QoS.
_RESERVED, _CLEAN, _WILL, _WILL_RETAIN, _PASSWORD, _USERNAME = 0x01, 0x02, 0x04, 0x20, 0x40, 0x80
_WILL_QOS_SHIFT = 3
_UNACCEPTABLE_LEVEL, _IDENTIFIER_REJECTED = 1, 2  # CONNACK return codes
_LAST_RETURN_CODE = 5
_SUBACK_CODES = frozenset((0, 1, 2, 0x80))


def _connect(reader: Reader, _flags: int) -> Connect:
    level = _level(reader)
    flags = _connect_flags(reader, level)
    keep_alive = reader.uint16()
    client_id = reader.text()
    will = _will(reader, flags) if flags & _WILL else None
    username = reader.text() if _follows(reader, flags & _USERNAME, level, "19", "name") else None
    password = (
        reader.binary() if _follows(reader, flags & _PASSWORD, level, "21", "password") else None
    )
    if not reader.at_end:  # MQTT-3.1.2-18, MQTT-3.1.2-20: what no flag announces must not be there
        raise MqttError("MQTT-3.1.2-18, MQTT-3.1.2-20: CONNECT with bytes after its last field")
    clean_session = bool(flags & _CLEAN)
    # MQTT-3.1.3-8. 3.1: a client id has at least one character.
    if not client_id and (level == LEVEL_3_1 or not clean_session):
        raise MqttError("MQTT-3.1.3-8: CONNECT without a client id", _IDENTIFIER_REJECTED)
    return Connect(client_id, username, password, keep_alive, clean_session, level, will)


def _level(reader: Reader) -> int:
    name = reader.binary()
    if name not in _LEVELS:  # MQTT-3.1.2-1
        raise MqttError(f"MQTT-3.1.2-1: protocol name {name[:16]!r}, not MQTT or MQIsdp")
    level = reader.byte()
    if level != _LEVELS[name]:  # MQTT-3.1.2-2
        raise MqttError(
            f"MQTT-3.1.2-2: {name.decode()} level {level}, not {_LEVELS[name]}", _UNACCEPTABLE_LEVEL
        )
    return level


def _connect_flags(reader: Reader, level: int) -> int:
    flags = reader.byte()
    if flags & _RESERVED:  # MQTT-3.1.2-3
        raise MqttError("MQTT-3.1.2-3: CONNECT with its reserved flag set")
    will_qos = flags >> _WILL_QOS_SHIFT & 3
    if flags & _WILL:
        if will_qos == 3:  # MQTT-3.1.2-14
            raise MqttError("MQTT-3.1.2-14: CONNECT with will QoS 3")
    elif level != LEVEL_3_1:  # 3.1: disregarded
        if will_qos:  # MQTT-3.1.2-11, MQTT-3.1.2-13
            raise MqttError("MQTT-3.1.2-13: CONNECT with a will QoS and no will")
        if flags & _WILL_RETAIN:  # MQTT-3.1.2-11, MQTT-3.1.2-15
            raise MqttError("MQTT-3.1.2-15: CONNECT with will retain and no will")
    if flags & _PASSWORD and not flags & _USERNAME:  # MQTT-3.1.2-22
        raise MqttError("MQTT-3.1.2-22: CONNECT with a password and no user name")
    return flags


def _will(reader: Reader, flags: int) -> Will:
    topic = reader.topic()
    message = reader.binary()
    return Will(topic, message, flags >> _WILL_QOS_SHIFT & 3, bool(flags & _WILL_RETAIN))


def _follows(reader: Reader, flag: int, level: int, clause: str, field: str) -> bool:
    """Whether a credential that `flag` announces is there."""
    if not flag or not reader.at_end:
        return bool(flag)
    if level == LEVEL_3_1:  # 3.1: the packet's length takes precedence over the flag
        return False
    # MQTT-3.1.2-19 (user name), MQTT-3.1.2-21 (password)
    raise MqttError(f"MQTT-3.1.2-{clause}: CONNECT announces a {field} and has none")


def _connack(reader: Reader, _flags: int) -> Connack:
    session_present, return_code = reader.byte(), reader.byte()
    if session_present > 1 or return_code > _LAST_RETURN_CODE:
        raise MqttError("MQTT-4.8.0-1: CONNACK with a reserved value")
    if session_present and return_code:  # MQTT-3.2.2-4
        raise MqttError("MQTT-3.2.2-4: CONNACK refuses and has a session")
    return Connack(return_code, bool(session_present))


def _publish(reader: Reader, flags: int) -> Publish:
    qos = flags >> 1 & 3
    topic = reader.topic()
    packet_id = reader.packet_id() if qos else 0
    return Publish(topic, reader.rest(), qos, bool(flags & 1), bool(flags & 8), packet_id)


def _subscribe(reader: Reader, _flags: int) -> Subscribe:
    packet_id = reader.packet_id()
    filters = []
    while not reader.at_end:
        topic = reader.filter()
        if (qos := reader.byte()) > 2:  # MQTT-3.8.3-4
            raise MqttError(f"MQTT-3.8.3-4: SUBSCRIBE asks for QoS byte {qos}")
        filters.append((topic, qos))
    if not filters:  # MQTT-3.8.3-3
        raise MqttError("MQTT-3.8.3-3: SUBSCRIBE without a filter")
    return Subscribe(packet_id, tuple(filters))


def _suback(reader: Reader, _flags: int) -> Suback:
    packet_id = reader.packet_id()
    return_codes = tuple(reader.rest())
    if not _SUBACK_CODES.issuperset(return_codes):  # MQTT-3.9.3-2
        raise MqttError("MQTT-3.9.3-2: SUBACK with a reserved return code")
    return Suback(packet_id, return_codes)


def _unsubscribe(reader: Reader, _flags: int) -> Unsubscribe:
    packet_id = reader.packet_id()
    filters = []
    while not reader.at_end:
        filters.append(reader.filter())
    if not filters:  # MQTT-3.10.3-2
        raise MqttError("MQTT-3.10.3-2: UNSUBSCRIBE without a filter")
    return Unsubscribe(packet_id, tuple(filters))


def _ack(packet: Callable[[int], Packet]) -> Callable[[Reader, int], Packet]:
    return lambda reader, _flags: packet(reader.packet_id())


def _bare(packet: Packet) -> Callable[[Reader, int], Packet]:
    return lambda _reader, _flags: packet


@dataclass(frozen=True, slots=True)
class Kind:
    """What holds for every packet of one type.

    flags is the low half of its first byte, None where they carry meaning; shortest and longest
    bound its bytes after the fixed header.
    """

    name: str
    flags: int | None
    shortest: int
    longest: int
    decode: Callable[[Reader, int], Packet]


PUBLISH = Kind("PUBLISH", None, 2, 0xFFFF + 4, _publish)  # longest: without its payload
_KINDS: tuple[Kind | None, ...] = (
    None,
    Kind("CONNECT", 0, 12, _CONTROL_LIMIT, _connect),
    Kind("CONNACK", 0, 2, 2, _connack),
    PUBLISH,
    Kind("PUBACK", 0, 2, 2, _ack(Puback)),
    Kind("PUBREC", 0, 2, 2, _ack(Pubrec)),
    Kind("PUBREL", 2, 2, 2, _ack(Pubrel)),  # MQTT-3.6.1-1
    Kind("PUBCOMP", 0, 2, 2, _ack(Pubcomp)),
    Kind("SUBSCRIBE", 2, 2, _CONTROL_LIMIT, _subscribe),  # MQTT-3.8.1-1
    Kind("SUBACK", 0, 3, _CONTROL_LIMIT, _suback),
    Kind("UNSUBSCRIBE", 2, 2, _CONTROL_LIMIT, _unsubscribe),  # MQTT-3.10.1-1
    Kind("UNSUBACK", 0, 2, 2, _ack(Unsuback)),
    Kind("PINGREQ", 0, 0, 0, _bare(Pingreq())),
    Kind("PINGRESP", 0, 0, 0, _bare(Pingresp())),
    Kind("DISCONNECT", 0, 0, 0, _bare(Disconnect())),  # MQTT-3.14.1-1
    None,
)


def kind_of(first: int, level: int) -> Kind:
    """The type that a packet's first byte announces, its flags checked.

    Args:
        level: what the connection's CONNECT said, 0 before it.
    """
    kind = _KINDS[first >> 4]
    flags = first & 0x0F
    if kind is None:
        raise MqttError(f"MQTT-4.8.0-1: packet type {first >> 4} is reserved")
    if kind.flags is None:
        if flags & 6 == 6:  # MQTT-3.3.1-4
            raise MqttError("MQTT-3.3.1-4: PUBLISH with QoS 3")
        if flags & 14 == 8:  # MQTT-3.3.1-2
            raise MqttError("MQTT-3.3.1-2: PUBLISH with DUP at QoS 0")
    elif flags != kind.flags and not _repeated(kind, flags, level):  # MQTT-2.2.2-1, MQTT-2.2.2-2
        raise MqttError(f"MQTT-2.2.2-2: {kind.name} with flags {flags}, not {kind.flags}")
    return kind


def _repeated(kind: Kind, flags: int, level: int) -> bool:
    """3.1: SUBSCRIBE, UNSUBSCRIBE and PUBREL, which are the types at QoS 1, may set DUP."""
    return level == LEVEL_3_1 and kind.flags == 2 and flags == 2 | 8
