"""Capture files for Wireshark: packets made up around what is known of them.

Nothing here was ever on a network like this. Each packet is IP and UDP around a payload that is
given; one whose payload is not all there is cut, and says how long it was.

Source: draft-ietf-opsawg-pcap (file format, LINKTYPE_RAW), RFC 791, RFC 8200, RFC 768, RFC 3550,
RFC 7587 (Opus in RTP: its clock runs at 48 kHz, whatever the sound), RFC 2974 (SAP),
RFC 8866 (SDP).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

Address = tuple[str, int]

SNAP_LENGTH: Final = 65_535  # bytes; none of the packets is longer
MAX_PAYLOAD: Final = SNAP_LENGTH - 40 - 8  # bytes, behind the headers of IPv6 and UDP
LINKTYPE_RAW: Final = 101  # each packet begins with its IP header
OPUS: Final = 96  # payload type, the first of the dynamic ones
CLOCK: Final = 48_000  # Hz
SAP_PORT: Final = 9875
PAUSE: Final = 0.5  # s without a packet after which speech begins anew
_JUMP: Final = 100  # lost packets in a row after which it does, too
_UDP: Final = 17
_HOPS: Final = 64

FILE_HEADER: Final = Struct(">IHHiIII").pack(0xA1B2C3D4, 2, 4, 0, 0, SNAP_LENGTH, LINKTYPE_RAW)

_pack_record = Struct(">IIII").pack
_pack_ipv4 = Struct(">BBHHHBBH4s4s").pack
_pack_ipv6 = Struct(">IHBB16s16s").pack
_pack_udp = Struct(">HHHH").pack
_pack_rtp = Struct(">BBHII").pack


def packet(at: float, source: Address, target: Address, payload: bytes, size: int) -> bytes:
    """One record of a capture file: a UDP datagram.

    Args:
        at: unix time.
        source, target: an IP address each, or any other text, which becomes the address that
            means none; if they are of two families, IPv4 is mapped into IPv6.
        payload: as much of it as there is, MAX_PAYLOAD at most.
        size: of the whole payload, in bytes; at most MAX_PAYLOAD, too.
    """
    one, other = _same_family(_parse(source[0]), _parse(target[0]))
    udp_size = 8 + size
    pseudo = one.packed + other.packed + udp_size.to_bytes(4, "big") + _UDP.to_bytes(4, "big")
    plain = _pack_udp(source[1], target[1], udp_size, 0) + payload
    check = _checksum(pseudo + plain) if size == len(payload) else 0  # 0: there is none
    udp = _pack_udp(source[1], target[1], udp_size, check) + payload
    data = _ip_header(one, other, udp_size) + udp
    seconds, microseconds = divmod(round(at * 1e6), 1_000_000)
    return _pack_record(seconds, microseconds, len(data), len(data) + size - len(payload)) + data


def rtp(sequence: int, timestamp: int, ssrc: int, opus: bytes, marker: bool) -> bytes:
    """One RTP packet; of sequence and timestamp (CLOCK) the lower bits count."""
    kind = OPUS | (0x80 if marker else 0)
    return _pack_rtp(0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + opus


def announcement(source: Address, target: Address, ssrc: int) -> bytes:
    """A message of SAP (to be sent to SAP_PORT) that tells of a stream of rtp().

    By it Wireshark knows that packets to the target are RTP, and that they are Opus.
    """
    one, other = _same_family(_parse(source[0]), _parse(target[0]))
    kind = f"IN IP{one.version}"
    description = (
        f"v=0\r\no=- {ssrc} 0 {kind} {one}\r\ns=xzgw\r\nc={kind} {other}\r\nt=0 0\r\n"
        f"m=audio {target[1]} RTP/AVP {OPUS}\r\na=rtpmap:{OPUS} opus/{CLOCK}/2\r\n"
    )
    # Version 1, and whether the source is of IPv6; no authentication; a hash of the message.
    head = bytes((0x30 if one.version == 6 else 0x20, 0)) + (ssrc & 0xFFFF).to_bytes(2, "big")
    return head + one.packed + b"application/sdp\0" + description.encode("ascii")


class RtpClock:
    """The timestamps of one stream: regular while it goes on, by the time of arrival after a pause.

    So a player hears speech at its own pace and pauses as long as they were.
    """

    __slots__ = ("_at", "_sequence", "_start", "_timestamp")

    def __init__(self) -> None:
        self._start: float | None = None
        self._at = 0.0
        self._sequence = 0
        self._timestamp = 0

    def next(self, at: float, sequence: int, microseconds: int) -> tuple[int, bool]:
        """Timestamp and marker of the next packet; the marker tells that speech begins.

        Args:
            at: s; sequence: higher than the one before; microseconds: of sound in one packet.
        """
        if self._start is None:
            self._start = at
            timestamp, begins = 0, True
        else:
            begins = at - self._at > PAUSE or sequence - self._sequence > _JUMP
            packets = 1 if begins else sequence - self._sequence
            timestamp = self._timestamp + packets * microseconds * CLOCK // 1_000_000
            if begins:
                timestamp = max(timestamp, round((at - self._start) * CLOCK))
        self._at, self._sequence, self._timestamp = at, sequence, timestamp
        return timestamp, begins


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """None for what is no IP address."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _same_family(
    one: IPv4Address | IPv6Address | None, other: IPv4Address | IPv6Address | None
) -> tuple[IPv4Address, IPv4Address] | tuple[IPv6Address, IPv6Address]:
    """Both, with something in the place of what there is not."""
    if isinstance(one, IPv6Address) or isinstance(other, IPv6Address):
        return _as_ipv6(one), _as_ipv6(other)
    return one or IPv4Address(0), other or IPv4Address(0)


def _as_ipv6(address: IPv4Address | IPv6Address | None) -> IPv6Address:
    if address is None:
        return IPv6Address(0)
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(0xFFFF << 32 | int(address))


def _ip_header(
    source: IPv4Address | IPv6Address, target: IPv4Address | IPv6Address, size: int
) -> bytes:
    """Of a packet with `size` bytes behind it."""
    if source.version == 6:
        return _pack_ipv6(6 << 28, size, _UDP, _HOPS, source.packed, target.packed)

    def header(check: int) -> bytes:
        # 0x45: version, five words of header; 0x4000: not to be fragmented.
        start = 0x45, 0, 20 + size, 0, 0x4000, _HOPS, _UDP
        return _pack_ipv4(*start, check, source.packed, target.packed)

    return header(_checksum(header(0)))


def _checksum(data: bytes) -> int:
    """Of the Internet, RFC 1071: the complement of the sum in one's complement arithmetic.

    Never 0, which UDP keeps for "none": 0xFFFF means the same number.
    """
    number = int.from_bytes(data, "big") << (8 if len(data) % 2 else 0)
    return 0xFFFF - number % 0xFFFF
