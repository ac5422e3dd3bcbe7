"""MQTT packets to bytes, both directions, for MQTT 3.1 and 3.1.1."""

from __future__ import annotations

import struct

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
)

_LONGEST = 0x0FFFFFFF  # what four length bytes can say

_FIRST_BYTE: dict[type[Packet], int] = {
    Puback: 0x40,
    Pubrec: 0x50,
    Pubrel: 0x62,
    Pubcomp: 0x70,
    Unsuback: 0xB0,
    Pingreq: 0xC0,
    Pingresp: 0xD0,
    Disconnect: 0xE0,
}


def encode(packet: Packet) -> bytes:
    """One packet as the bytes to send.

    Numbers and topics are taken as they are: the rules a decoder enforces are not checked again.

    Raises:
        ValueError: a text that is not Unicode, a field over 65,535 bytes, or a packet over
            268,435,455 bytes.
    Source: MQTT 3.1.1, sections 2 and 3.
    """
    match packet:
        case Publish():
            return _publish(packet)
        case Connect():
            return _frame(0x10, *_connect(packet))
        case Connack(return_code, session_present):
            return bytes((0x20, 2, session_present, return_code))
        case Subscribe(packet_id, filters):
            asked = (_text(topic) + bytes((qos,)) for topic, qos in filters)
            return _frame(0x82, _uint16(packet_id), *asked)
        case Suback(packet_id, return_codes):
            return _frame(0x90, _uint16(packet_id), bytes(return_codes))
        case Unsubscribe(packet_id, topics):
            return _frame(0xA2, _uint16(packet_id), *map(_text, topics))
        case Pingreq() | Pingresp() | Disconnect():
            return bytes((_FIRST_BYTE[type(packet)], 0))
        case _:
            return bytes((_FIRST_BYTE[type(packet)], 2)) + _uint16(packet.packet_id)


def _publish(packet: Publish) -> bytes:
    first = 0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain
    packet_id = _uint16(packet.packet_id) if packet.qos else b""
    return _frame(first, _text(packet.topic), packet_id, packet.payload)


def _connect(packet: Connect) -> list[bytes]:
    flags = packet.clean_session << 1
    fields = [_text(packet.client_id)]
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        fields += [_text(packet.will.topic), _binary(packet.will.message)]
    if packet.username is not None:
        flags |= 0x80
        fields.append(_text(packet.username))
    if packet.password is not None:
        flags |= 0x40
        fields.append(_binary(packet.password))
    name = b"MQIsdp" if packet.level == 3 else b"MQTT"
    header = struct.pack(">BBH", packet.level, flags, packet.keep_alive)
    return [_binary(name), header, *fields]


def _frame(first: int, *fields: bytes) -> bytes:
    rest = sum(map(len, fields))
    if rest > _LONGEST:
        raise ValueError(f"packet of {rest} bytes, MQTT carries {_LONGEST}")
    header = bytearray((first,))
    while rest > 0x7F:
        header.append(rest & 0x7F | 0x80)
        rest >>= 7
    header.append(rest)
    return b"".join((header, *fields))


def _text(value: str) -> bytes:
    return _binary(value.encode("utf-8"))


def _binary(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(f"field of {len(value)} bytes, MQTT carries 65535")
    return _uint16(len(value)) + value


def _uint16(value: int) -> bytes:
    return value.to_bytes(2, "big")
