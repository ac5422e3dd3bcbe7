"""Checks of the lists of chat servers: addresses, plain or with a weight."""

from __future__ import annotations

import re
from dataclasses import dataclass

from xzgw.settings import checks
from xzgw.settings.addresses import chat_server as address
from xzgw.settings.addresses import is_placeholder
from xzgw.settings.checks import Fault, Unfit

MEMBERS = ("url", "weight")

_WANT_URL = "the address of the chat server"
_weight = checks.number(1, 100)


@dataclass(frozen=True, slots=True)
class ChatServer:
    """One entry.

    Attributes:
        weight: 1 to 100; its part of the sessions compared with that of others.
        unknown: names of further members, which mean nothing.
    """

    url: str
    weight: int = 1
    unknown: tuple[str, ...] = ()


def read_list(text: str) -> list[str]:
    """Addresses in a variable: with spaces, commas or both between them."""
    return re.split(r"[\s,]+(?=wss?://)|\s+", text.strip())


def chat_server(value: object) -> ChatServer:
    """An address, or an object with `url` and, unless it is 1, `weight`."""
    if not isinstance(value, dict):
        return ChatServer(address(value))
    url, weight, faults = "", 1, []
    try:
        if value.get("url") is None:
            raise Unfit(Fault("", "nothing", _WANT_URL))
        url = address(value["url"])
    except Unfit as problem:
        faults += problem.inside(".url")
    try:
        # null is how JSON says that something is not set.
        weight = 1 if value.get("weight") is None else _weight(value["weight"])
    except Unfit as problem:
        faults += problem.inside(".weight")
    if faults:
        raise Unfit(*faults)
    return ChatServer(url, weight, tuple(name for name in value if name not in MEMBERS))


def chat_server_or_none(value: object) -> ChatServer | None:
    """Like `chat_server`, None for a placeholder: a server that nobody has to have."""
    url = value.get("url") if isinstance(value, dict) else value
    return None if is_placeholder(url) else chat_server(value)
