"""Checks of the addresses and names in the configuration: URLs, hosts, MACs, topics, endpoints.

Each takes a plain JSON value and returns it in the form that the gateway works with, or raises
`Unfit`. Nothing is looked up or opened.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from xzgw.core.listening import parse_tls
from xzgw.settings.checks import Fault, Unfit, shown, unfit
from xzgw.wire.addresses import plain_mac

Network = IPv4Network | IPv6Network

WANT_WEB = "an http:// or https:// address with a host name or IP address"

_PLACEHOLDER = re.compile(r"[^\x00-\x7f]|<|your[-_]|\.\.\.|xxx", re.IGNORECASE)
_ORIGIN = re.compile(r"[^/?#]*(?://[^/?#]*)?")
_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MAC = re.compile(r"[0-9a-f]{2}([:_-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}", re.IGNORECASE)
_PROXIES = re.compile("^(haproxy:)+")
_UDP = re.compile(r"(?:(?:\[(?P<v6>[^]]*)]|(?P<v4>[^:[\]]*)):)?(?P<port>[0-9]{1,5})")

_WANT_SERVER = "a ws:// or wss:// address with a host name or IP address"
_WANT_REAL = "the real address in place of this placeholder"
_WANT_ASCII = f"{_WANT_REAL}; a name with such letters in its ASCII form (xn--...)"
_WANT_ENDPOINT = "an endpoint such as tcp:1883 or tcp:1883:interface=127.0.0.1"
_FIELDS = "colons within a field are written \\:, and backlog is a number"
_WANT_UDP = "PORT, ADDRESS:PORT or [IPv6 ADDRESS]:PORT, the port from 0 to 65535"
_HANDED_OVER = re.compile(r"fd:[0-9]{1,5}|systemd(:[!-9;-~]{1,255})?")
_WANT_HOST = "an IP address or host name that devices can reach, without scheme and port"
_WANT_MAC = "a MAC address such as aa:bb:cc:dd:ee:ff"
_WANT_NETWORK = "an IP address, or a network such as 10.0.0.0/8 with no bits behind its prefix"
_WANT_TOPIC = "a topic of 1 to 1024 visible characters without + and #"


def is_placeholder(value: object) -> bool:
    """Whether a text is what guides print for the reader to replace: `<ip>`, `your-ip`, `...`."""
    return isinstance(value, str) and _PLACEHOLDER.search(value) is not None


def _refuse_placeholder(value: object) -> None:
    if is_placeholder(value):
        raise unfit(value, _WANT_REAL if str(value).isascii() else _WANT_ASCII)


def chat_server(value: object) -> str:
    """A WebSocket URL, returned as it is: its query string must reach the server untouched."""
    _refuse_placeholder(value)
    return _url(value, ("ws", "wss"), shown(value), _WANT_SERVER)


def web_address(value: object) -> str:
    """An HTTP URL, returned as it is. Its path and query may be secret and are never shown."""
    harmless = origin(value) if isinstance(value, str) else value
    _refuse_placeholder(harmless)
    return _url(value, ("http", "https"), shown(harmless), WANT_WEB)


def origin(url: str) -> str:
    """A URL's scheme, host and port: what of it may be shown."""
    match = _ORIGIN.match(url)
    return match[0] if match else ""


def _url(value: object, schemes: Collection[str], found: str, want: str) -> str:
    """A URL of one of these schemes.

    Args:
        found: the value, fit to be shown.
        want: what to ask for.
    """
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise Unfit(Fault("", found, want))
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise Unfit(Fault("", found, f"{want}, the port from 1 to 65535")) from None
    if parts.scheme not in schemes or not is_host(parts.hostname or ""):
        raise Unfit(Fault("", found, want))
    if port == 0 or parts.netloc.endswith(":"):
        raise Unfit(Fault("", found, "a port from 1 to 65535, or none and no colon"))
    if "@" in parts.netloc:
        raise Unfit(Fault("", found, "an address without user name and password"))
    if "#" in value:
        raise Unfit(Fault("", found, "an address without #"))
    return value


def network(value: object) -> Network:
    """An IP address, or a network such as 10.0.0.0/8."""
    if not isinstance(value, str):
        raise unfit(value, _WANT_NETWORK)
    try:
        return ip_network(value)
    except ValueError:
        raise unfit(value, _WANT_NETWORK) from None


def is_host(name: str) -> bool:
    """Whether a text is an IP address or could be a host name."""
    try:
        ip_address(name)
    except ValueError:
        labels = name.removesuffix(".").split(".")
        # A name never ends in a number: 192.0.2.300 is a mistyped address.
        return (
            len(name) <= 253
            and all(map(_LABEL.fullmatch, labels))
            and re.fullmatch("[0-9]+", labels[-1]) is None
        )
    return True


def public_host(value: object) -> str:
    """The host or IP address that devices are told to send their audio to."""
    _refuse_placeholder(value)
    if not isinstance(value, str) or not is_host(value) or value in ("0.0.0.0", "::"):  # noqa: S104
        raise unfit(value, _WANT_HOST)
    return value


def mac(value: object) -> str:
    """A MAC address, returned in lower case with colons."""
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise unfit(value, _WANT_MAC)
    return plain_mac(value)


def topic(value: object) -> str:
    """An MQTT topic name. MQTT-3.3.2-2: no wildcards."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= 1024:
        raise unfit(value, _WANT_TOPIC)
    if "+" in value or "#" in value:
        raise unfit(value, _WANT_TOPIC)
    return value


def endpoint(value: object) -> str:
    """A Twisted server endpoint string. Only its form is checked; nothing is opened."""
    if not isinstance(value, str) or not value.isprintable():
        raise unfit(value, _WANT_ENDPOINT)
    prefix, _, rest = value.partition(":")
    if prefix == "haproxy" and rest:
        endpoint(_PROXIES.sub("", value))
    known = {"tcp", "ssl", "unix", "haproxy"} | {
        p.prefix for p in getPlugins(IStreamServerEndpointStringParser)
    }
    if prefix not in known or not rest:
        raise unfit(value, _WANT_ENDPOINT)
    if prefix in ("tcp", "tcp6"):
        _check_endpoint_port(value, rest)
    elif prefix == "ssl":
        _check_tls(value, rest)
    return value


def _check_tls(value: str, arguments: str) -> None:
    try:
        inner = parse_tls(arguments).inner
    except ValueError as error:
        raise unfit(value, str(error)) from None
    endpoint(inner)


def _check_endpoint_port(value: str, rest: str) -> None:
    fields = re.split(r"(?<!\\):", rest)
    named = [field.removeprefix("port=") for field in fields if field.startswith("port=")]
    digits = (named or fields)[0]
    if not re.fullmatch("[0-9]{1,5}", digits) or int(digits) > 65535:
        raise unfit(value, f"{_WANT_ENDPOINT}, the port from 0 to 65535")
    try:
        serverFromString(None, value)
    except (ValueError, TypeError, RuntimeError):  # the last one of a backslash at the end
        raise unfit(value, f"{_WANT_ENDPOINT}; {_FIELDS}") from None


def udp_place(value: object) -> tuple[str, int] | str:
    """Like `udp_address`, or a socket that somebody else has opened, as it is: `fd:N`, `systemd`,
    `systemd:NAME`.
    """
    if isinstance(value, str) and _HANDED_OVER.fullmatch(value):
        return value
    try:
        return udp_address(value)
    except Unfit:
        raise unfit(value, f"{_WANT_UDP}; or fd:NUMBER, systemd or systemd:NAME") from None


def udp_address(value: object) -> tuple[str, int]:
    """Where to receive datagrams: an IP address, empty for all, and a port, 0 for any free one."""
    plain = str(value) if isinstance(value, int) else value
    match = _UDP.fullmatch(plain) if isinstance(plain, str) else None
    if match is None or int(match["port"]) > 65535:
        raise unfit(value, _WANT_UDP)
    try:
        if match["v6"] is not None:
            return str(IPv6Address(match["v6"])), int(match["port"])
        host = match["v4"]
        return "" if host in (None, "", "*") else str(IPv4Address(host)), int(match["port"])
    except ValueError:
        raise unfit(value, _WANT_UDP) from None
