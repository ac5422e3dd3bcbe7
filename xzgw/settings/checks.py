"""Checks of single configuration values: plain JSON values in, typed values out.

A check takes what the JSON file holds (or what was read from a text, see `Kind`) and returns the
value in the form that the gateway works with. It raises `Unfit` for anything else, in words that
tell an operator what was found and what is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from xzgw.wire.addresses import shown_url

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Check = Callable[[object], T]

_LONGEST_SHOWN = 80
_CREDENTIALS = re.compile(r"//.*@")
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake.

    Attributes:
        place: where inside the value, e.g. `[2]`; empty for the value itself.
        found: already fit to be shown.
        want: completes "want ...".
    """

    place: str
    found: str
    want: str


class Unfit(Exception):
    """A value that cannot be used; `faults` has at least one entry."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def inside(self, place: str) -> list[Fault]:
        """The faults of a value that is a part of another one, at this place."""
        return [Fault(f"{place}{fault.place}", fault.found, fault.want) for fault in self.faults]


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """A kind of value.

    Attributes:
        check: for values as they stand in the JSON file.
        read: makes such a value of a flag's or variable's text. A text that it cannot read stays
            a text, which `check` then refuses.
    """

    check: Check[T_co]
    read: Callable[[str], object] = str


def shown(value: object) -> str:
    """A value for a message: one line, shortened, without the secrets of a URL."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(_CREDENTIALS.sub("//***@", shown_url(value)) if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def unfit(value: object, want: str) -> Unfit:
    """The exception for a value that is wrong as a whole."""
    return Unfit(Fault("", shown(value), want))


def read_number(text: str) -> object:
    """Decimal digits become a number."""
    digits = text.strip()
    # Ten digits are more than any setting takes; int() refuses thousands of them.
    return int(digits) if re.fullmatch("[0-9]{1,10}", digits) else text


def read_boolean(text: str) -> object:
    """1, true, yes, on and 0, false, no, off, in any case, become true and false."""
    return _BOOLEANS.get(text.strip().lower(), text)


def number(low: int, high: int) -> Check[int]:
    """A check for whole numbers from `low` to `high`."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise unfit(value, f"a whole number from {low} to {high}")
        return value

    return check


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise unfit(value, "true or false")
    return value


def many(check: Check[T], least: int = 0) -> Check[tuple[T, ...]]:
    """A check for a list, or one text in place of a list of one. Repeated values count once."""

    def check_all(value: object) -> tuple[T, ...]:
        if isinstance(value, str):
            return (check(value),)
        if not isinstance(value, list) or len(value) < least:
            raise unfit(value, f"a list of at least {least}" if least else "a list")
        checked: dict[T, None] = {}
        faults: list[Fault] = []
        for index, item in enumerate(value):
            try:
                checked[check(item)] = None
            except Unfit as problem:
                faults += problem.inside(f"[{index}]")
        if faults:
            raise Unfit(*faults)
        return tuple(checked)

    return check_all


def text(want: str) -> Check[str]:
    """A check for a text of at least one character, all of them printable."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise unfit(value, want)
        return value

    return check


def secret(value: object) -> str:
    """A text that UTF-8 can carry; it is never shown."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        # Bytes of the environment that are not UTF-8 arrive as lone surrogates.
        raise Unfit(Fault("", "bytes that are not UTF-8", "UTF-8 text")) from None
    return str(value)


def token(value: object) -> str:
    """A secret that an HTTP header can carry as a bearer token; it is never shown."""
    if not isinstance(value, str) or not re.fullmatch("[!-~]+", value):
        raise Unfit(Fault("", "something else", "letters, digits and signs of ASCII, no blanks"))
    return value


def json_object(value: object) -> dict[str, Any]:
    """A JSON object with any members."""
    if not isinstance(value, dict):
        raise unfit(value, "an object")
    return value


def client_info(value: object) -> dict[str, Any]:
    """MCP `clientInfo`: an object whose `name` and `version`, where given, are texts."""
    members = json_object(value)
    faults = [
        Fault(f".{name}", shown(members[name]), "a text")
        for name in ("name", "version")
        if name in members and not isinstance(members[name], str)
    ]
    if faults:
        raise Unfit(*faults)
    return members
