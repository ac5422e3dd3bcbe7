"""As much of WebSockets (RFC 6455) as a chat server needs: whole, masked frames below 64 KiB."""

from __future__ import annotations

import base64
import hashlib
import re
from struct import Struct
from typing import Final

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"\r\nsec-websocket-key:[ \t]*(\S+)", re.IGNORECASE)
_FINAL = 0x80
_MASKED = 0x80
_LENGTH_16 = 126
_unpack_long = Struct(">H").unpack_from
_pack_short = Struct(">BB").pack
_pack_long = Struct(">BBH").pack


class WebSocketError(Exception):
    """The gateway sent what this server does not take."""


def _unmasked(data: bytes, start: int, size: int) -> bytes:
    """The payload whose four-byte mask is at the start."""
    mask = data[start : start + 4]
    body = data[start + 4 : start + 4 + size]
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(body, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def next_frame(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """The client's frame that begins there.

    Returns:
        Opcode, payload and where the next frame begins; None while it is incomplete.
    Raises:
        WebSocketError: a frame of another kind.
    """
    if len(data) - at < 2:
        return None
    size = data[at + 1] & 0x7F
    if not data[at] & _FINAL or not data[at + 1] & _MASKED or size > _LENGTH_16:
        raise WebSocketError("a WebSocket frame that is fragmented, not masked or over 64 KiB")
    start = at + 2
    if size == _LENGTH_16:
        if len(data) - at < 4:
            return None
        size = _unpack_long(data, start)[0]
        start += 2
    end = start + 4 + size
    if len(data) < end:
        return None
    return data[at] & 0x0F, _unmasked(data, start, size), end


def frame(opcode: int, payload: bytes) -> bytes:
    """A server's frame; the payload is below 64 KiB."""
    size = len(payload)
    if size < _LENGTH_16:
        return _pack_short(_FINAL | opcode, size) + payload
    return _pack_long(_FINAL | opcode, _LENGTH_16, size) + payload


def upgrade(request: bytes) -> bytes | None:
    """The response to a request's head, without the empty line; None if it is for no WebSocket."""
    found = _KEY.search(request)
    if found is None:
        return None
    digest = hashlib.sha1(found[1] + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
