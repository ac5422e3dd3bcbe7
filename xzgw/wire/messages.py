"""The JSON envelopes that devices and servers exchange.

Messages are parsed to be routed and then forwarded as the very bytes that arrived; only what the
gateway says in its own name is composed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

Json = dict[str, Any]


class MessageError(Exception):
    """Not one JSON object; the text is to be counted and dropped."""


# Far more than any message has, far less than the interpreter's stack: what parses can be encoded.
_MAX_DEPTH = 100
# Opening brackets, those inside texts included; no message has a tenth of that. A megabyte of empty
# lists would take a fifth of a second and 25 MB, this many take 20 ms.
_MAX_BRACKETS = 50_000


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("number out of range")
    return number


_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def parse(text: bytes) -> Json:
    """Parse one JSON object.

    Raises:
        MessageError: bad UTF-8, not JSON, not an object, nested too deep, more than _MAX_BRACKETS
            objects and lists, or a number that Python cannot hold (4,301 digits, an exponent that
            makes infinity).
    """
    brackets = text.count(b"{") + text.count(b"[")
    if brackets > _MAX_BRACKETS:
        raise MessageError("too many objects and lists")
    try:
        message = _decoder.decode(text.decode("utf-8"))
    except RecursionError:
        raise MessageError("nested too deep") from None
    except UnicodeDecodeError:
        raise MessageError("not UTF-8") from None
    except ValueError:
        raise MessageError("not JSON") from None
    if not isinstance(message, dict):
        raise MessageError("not a JSON object")
    # Only a text with that many brackets can be that deep; nearly all are spared the walk.
    if brackets > _MAX_DEPTH and _too_deep(message):
        raise MessageError("nested too deep")
    return message


def _too_deep(message: Json) -> bool:
    """Whether containers nest deeper than _MAX_DEPTH; level by level, so never recursing."""
    level: list[Json | list[Any]] = [message]
    for _ in range(_MAX_DEPTH):
        children = (
            c for item in level for c in (item.values() if isinstance(item, dict) else item)
        )
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def encode(message: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON.

    Raises:
        ValueError: a float that JSON cannot carry; what parse() returned has none.
    """
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate can be written in JSON as an escape only.
    return text.encode("utf-8", "backslashreplace")


def text_member(message: Mapping[str, Any], name: str) -> str | None:
    """A member's value if it is a string, else None."""
    value = message.get(name)
    return value if isinstance(value, str) else None


def goodbye(session_id: str | None) -> bytes:
    """End of a session, towards the device, which ignores any id but its own session's."""
    return encode(_with_session({"type": "goodbye"}, session_id))


def error(message: str) -> bytes:
    """A refusal in words, towards the device."""
    return encode({"type": "error", "message": message})


def alert(status: str, message: str) -> bytes:
    """Something to be shown to the user, with a sound, towards the device."""
    return encode({"type": "alert", "status": status, "message": message, "emotion": "sad"})


def mcp(payload: Mapping[str, Any], session_id: str | None = None) -> bytes:
    """One JSON-RPC message in its envelope, towards either side."""
    return encode(_with_session({"type": "mcp", "payload": payload}, session_id))


def _with_session(message: Json, session_id: str | None) -> Json:
    return message if session_id is None else {"session_id": session_id, **message}


def server_hello(device_hello: Mapping[str, Any]) -> bytes:
    """The first frame towards the server: the device's hello with our version and transport.

    Members that we do not know travel on as they are.
    """
    return encode({**device_hello, "version": 2, "transport": "websocket"})


def device_hello_reply(
    *,
    session_id: str,
    audio_params: object,
    server: str,
    port: int,
    key: bytes,
    nonce: bytes,
) -> bytes:
    """The reply that opens a session on the device.

    Args:
        audio_params: the server's, as it sent them; left out if it sent none.
        server, port: where the device shall send its datagrams.
        key, nonce: 16 bytes each.
    """
    reply: Json = {
        "type": "hello",
        "version": 3,
        "session_id": session_id,
        "transport": "udp",
        "udp": {
            "server": server,
            "port": port,
            "encryption": "aes-128-ctr",
            "key": key.hex(),
            "nonce": nonce.hex(),
        },
    }
    if audio_params is not None:
        reply["audio_params"] = audio_params
    return encode(reply)
