"""Endpoint strings of ours: what `ssl:` says.

The form is Twisted's: fields between colons, a few of them `name=value`; a backslash makes the
character after it an ordinary one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = (
    "ssl:PORT:privateKey=FILE, with certKey=FILE, extraCertChain=FILE, interface=ADDRESS or"
    " backlog=NUMBER if needed"
)

_NAMES = ("port", "privateKey", "certKey", "extraCertChain", "interface", "backlog", "over")


@dataclass(frozen=True, slots=True)
class TlsListener:
    """An `ssl:` endpoint.

    Attributes:
        private_key, certificate, chain: PEM files; no chain means what the certificate's file has.
        inner: the endpoint string of what is below TLS.
    """

    private_key: str
    certificate: str
    chain: str | None
    inner: str


def parse_tls(arguments: str) -> TlsListener:
    """What stands after `ssl:`.

    Raises:
        ValueError: not of the form FORM.
    """
    given = _fields(arguments)
    private_key = given.get("privateKey", "")
    if not private_key or set(given) - set(_NAMES):
        raise ValueError(FORM)
    return TlsListener(
        private_key,
        given.get("certKey", private_key),
        given.get("extraCertChain"),
        _inner(given),
    )


def _fields(arguments: str) -> dict[str, str]:
    """Each field's value, unescaped; the one without a name is the port."""
    fields: dict[str, str] = {}
    for field in re.findall(r"(?:\\.|[^\\:])+", arguments):
        name, equals, value = field.partition("=")
        if not equals:
            name, value = "port", field
        if name in fields:
            raise ValueError(FORM)
        fields[name] = re.sub(r"\\(.)", r"\1", value)
    return fields


def _inner(given: dict[str, str]) -> str:
    if "over" in given:
        if {"port", "interface", "backlog"} & set(given):
            raise ValueError(FORM)
        return given["over"]
    for name in ("port", "backlog"):
        if not re.fullmatch("[0-9]{1,5}", given.get(name, "50")) or int(given[name]) > 65535:
            raise ValueError(FORM)
    return ""
