"""Endpoint strings of ours: what `ssl:` says, and which are at sockets that were handed over.

The form is Twisted's: fields between colons, a few of them `name=value`; a backslash makes the
character after it an ordinary one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FORM = (
    "ssl:PORT:privateKey=FILE, with certKey=FILE, extraCertChain=FILE, interface=ADDRESS or"
    " backlog=NUMBER if needed"
)

HANDED_OVER = ("fd", "systemd")  # kinds of endpoints whose socket another process has, too

_NAMES = {"port", "privateKey", "certKey", "extraCertChain", "interface", "backlog", "over"}


@dataclass(frozen=True, slots=True)
class TlsListener:
    """An `ssl:` endpoint.

    Attributes:
        private_key, certificate, chain: PEM files; no chain means what the certificate's file has.
        inner: the endpoint string of what is below TLS. That is a TCP port unless `over` says
            otherwise, e.g. a socket that systemd opened.
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
    if not private_key or set(given) - _NAMES:
        raise ValueError(FORM)
    return TlsListener(
        private_key, given.get("certKey", private_key), given.get("extraCertChain"), _inner(given)
    )


def is_handed_over(endpoint: str) -> bool:
    """Whether an endpoint, which may have TLS and PROXY headers on top, is at a socket that this
    process was given open, so that others may be listening there.

    Raises:
        ValueError: an `ssl:` that is not of the form FORM.
    """
    *_, (kind, _) = _layers(endpoint)
    return kind in HANDED_OVER


def tls_of(endpoint: str) -> list[TlsListener]:
    """The TLS that an endpoint has; raises ValueError like `is_handed_over`."""
    return [parse_tls(rest) for kind, rest in _layers(endpoint) if kind == "ssl"]


def _layers(endpoint: str) -> Iterator[tuple[str, str]]:
    """Kind and arguments of all that an endpoint is made of, what is nearest to the wire first; the
    last one is the port itself.
    """
    while True:
        kind, _, rest = endpoint.partition(":")
        yield kind, rest
        if kind not in ("haproxy", "ssl"):
            return
        endpoint = parse_tls(rest).inner if kind == "ssl" else rest


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


def _inner(given: Mapping[str, str]) -> str:
    below = {name: given[name] for name in ("interface", "backlog") if name in given}
    if "over" in given:
        if below or "port" in given:
            raise ValueError(FORM)
        return given["over"]
    for number in (given.get("port", ""), given.get("backlog", "0")):
        if not re.fullmatch("[0-9]{1,5}", number) or int(number) > 65535:
            raise ValueError(FORM)
    return ":".join(["tcp", given["port"], *(f"{n}={_quoted(v)}" for n, v in below.items())])


def _quoted(value: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", value)
