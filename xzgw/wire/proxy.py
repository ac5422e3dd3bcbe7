"""PROXY protocol headers, versions 1 and 2: who is at the far end of a proxy's connection.

A header stands before everything else on a connection, TLS included.

Source: haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = tuple[str, int]

MAX_V1 = 107  # bytes of a line in version 1, its end included
MAX_V2 = 4096  # bytes in version 2; the format allows more, no proxy needs it

_WORD = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct(">12xBBH")
_LOCAL, _PROXY = 0, 1
_FAMILIES: dict[bytes, type[IPv4Address | IPv6Address]] = {
    b"TCP4": IPv4Address,
    b"TCP6": IPv6Address,
}
# Family and transport: the address class and the layout of both addresses and both ports.
_KINDS: dict[int, tuple[type[IPv4Address | IPv6Address], struct.Struct]] = {
    0x11: (IPv4Address, struct.Struct(">4s4sHH")),
    0x21: (IPv6Address, struct.Struct(">16s16sHH")),
}
_LAST_FAMILY, _LAST_TRANSPORT = 3, 2


class ProxyError(Exception):
    """Not a PROXY header; str() is the reason in a few words."""


@dataclass(frozen=True, slots=True)
class Header:
    """One header.

    Attributes:
        size: bytes that it takes.
        source, destination: IP address and port of the connection that the proxy took; both None
            when the proxy speaks for itself (health checks) or cannot tell.
    """

    size: int
    source: Address | None = None
    destination: Address | None = None


def parse(data: bytes) -> Header | None:
    """The header that a connection begins with; None while more of it has to come.

    Args:
        data: everything received so far.
    Raises:
        ProxyError: as soon as it cannot become a header any more.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if data[:6] == _WORD[: len(data)]:
        return _parse_v1(data)
    raise ProxyError("no PROXY header")


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, MAX_V1) + 1
    if not end:
        if len(data) >= MAX_V1:
            raise ProxyError(f"PROXY line longer than {MAX_V1} bytes")
        return None
    line = data[:end]
    if not line.endswith(b"\r\n"):
        raise ProxyError("PROXY line without CR")
    match line[:-2].split(b" "):
        case [_, b"UNKNOWN", *_]:
            return Header(end)
        case [_, (b"TCP4" | b"TCP6") as family, source, destination, source_port, port]:
            kind = _FAMILIES[family]
            return Header(
                end,
                _read_address(kind, source, source_port),
                _read_address(kind, destination, port),
            )
    raise ProxyError("PROXY line of an unknown form")


def _read_address(kind: type[IPv4Address | IPv6Address], host: bytes, port: bytes) -> Address:
    try:
        address = kind(host.decode("ascii"))
    except ValueError:
        raise ProxyError("PROXY line with a bad address") from None
    if b"%" in host:
        raise ProxyError("PROXY line with a bad address")
    if not re.fullmatch(rb"0|[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ProxyError("PROXY line with a bad port")
    return _text(address), int(port)


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < _FIXED.size:
        return None
    version_command, kind, length = _FIXED.unpack_from(data)
    version, command = version_command >> 4, version_command & 15
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise ProxyError(f"PROXY header of version {version}, command {command}")
    size = _FIXED.size + length
    if size > MAX_V2:
        raise ProxyError(f"PROXY header longer than {MAX_V2} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return Header(size)
    if kind >> 4 > _LAST_FAMILY or kind & 15 > _LAST_TRANSPORT:
        raise ProxyError(f"PROXY header with unknown address family {kind:#04x}")
    if kind not in _KINDS:
        return Header(size)  # datagrams, UNIX sockets, unspecified: no use to us
    return _with_addresses(data[_FIXED.size : size], *_KINDS[kind])


def _with_addresses(
    body: bytes, kind: type[IPv4Address | IPv6Address], layout: struct.Struct
) -> Header:
    """Take the addresses; what follows them (TLVs) is skipped."""
    if len(body) < layout.size:
        raise ProxyError("PROXY header too short for its addresses")
    source, destination, source_port, port = layout.unpack_from(body)
    return Header(
        _FIXED.size + len(body),
        (_text(kind(source)), source_port),
        (_text(kind(destination)), port),
    )


def _text(address: IPv4Address | IPv6Address) -> str:
    """The usual form; an IPv4 address that IPv6 carries (::ffff:1.2.3.4) in its own."""
    return str(getattr(address, "ipv4_mapped", None) or address)
