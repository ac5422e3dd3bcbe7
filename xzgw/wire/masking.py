"""Messages for people: with nothing in them that opens a door.

What a member's name tells to be a secret is masked, and so is what stands in addresses: the same
names as in addresses.shown_url. A nonce is no secret, but goes with the key.
"""

from __future__ import annotations

import json
from typing import Any

from xzgw.wire import messages
from xzgw.wire.addresses import MASK, TELLING, shown_url
from xzgw.wire.messages import Json

SHOWN = 60  # characters of a text that is no JSON object

_OBJECT_OR_LIST = ("{", "[")


def masked_text(text: bytes) -> Json:
    """A message as members for people: `message`, or the `start` of what is none."""
    try:
        return {"message": masked(messages.parse(text))}
    except messages.MessageError as error:
        start = text[:SHOWN].decode("utf-8", "replace")
        return {"start": MASK if TELLING.search(start) else start, "fault": str(error)}


def masked(message: Json) -> Json:
    """The same without its secrets, as messages.parse returns it; it may nest as deep.

    A text that holds an object itself, as results of tools do, is looked into, once: deeper ones
    are masked as a whole, as are texts that look like JSON, are no object, and have such a name.
    """
    return _object(message, looks_in=True)


def _object(value: Json, *, looks_in: bool) -> Json:
    return {name: _member(name, member, looks_in) for name, member in value.items()}


def _member(name: str, value: Any, looks_in: bool) -> Any:
    if name != "nonce" and not TELLING.search(name):
        return _value(value, looks_in)
    match value:
        case list():
            return [_member(name, each, looks_in) for each in value]
        case None | bool() | dict():
            return _value(value, looks_in)
    return MASK


def _value(value: Any, looks_in: bool) -> Any:
    match value:
        case dict():
            return _object(value, looks_in=looks_in)
        case list():
            return [_value(each, looks_in) for each in value]
        case str():
            return _text(value, looks_in)
    return value


def _text(value: str, looks_in: bool) -> str:
    if not value.lstrip().startswith(_OBJECT_OR_LIST):
        return shown_url(value)
    try:
        inner = messages.parse(value.encode("utf-8", "surrogatepass"))
    except messages.MessageError:
        return MASK if TELLING.search(value) else shown_url(value)
    if not looks_in:
        return MASK
    return json.dumps(_object(inner, looks_in=False), ensure_ascii=False, separators=(",", ":"))
