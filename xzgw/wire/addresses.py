"""Addresses as texts: of IP, of network cards, and URLs."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

MASK = "***"
# What a name has in it whose value nobody is to see.
TELLING = re.compile("secret|token|pass|pwd|key|auth|signature|credential|jwt", re.IGNORECASE)

_NAT64 = 0x64_FF9B << 64  # the upper 96 bits of 64:ff9b::/96, RFC 6052: IPv4 is in the lower 32
_SEPARATORS = str.maketrans("-_", "::")
_USER = re.compile("//[^/?#]*@")
_PARAMETER = re.compile(
    rf"(?<=[?&;])([^=?&;#]{{0,64}}(?:{TELLING.pattern})[^=?&;#]{{0,64}}=)[^&#]*", re.IGNORECASE
)


def short_ip(ip: str) -> str:
    """An IPv4 address that IPv6 carries (::ffff:1.2.3.4) in its own form, others as they are."""
    return ip.removeprefix("::ffff:") if "." in ip else ip


def plain_ip(text: str) -> str:
    """One spelling per address, IPv4 carried by IPv6 being IPv4; other texts as they are."""
    try:
        ip = ip_address(text)
    except ValueError:
        return text
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return str(mapped or ip)


def network_of(ip: str) -> str:
    """What is counted as one address: of IPv6 the /64, all of which one customer has.

    Anything else is its own, and so is each IPv4 address that a NAT64 has translated.
    """
    if ":" not in ip:
        return ip
    try:
        number = int(IPv6Address(ip))
    except ValueError:
        return ip
    if number >> 32 == _NAT64:
        return ip
    return f"{IPv6Address(number >> 64 << 64)}/64"


def plain_mac(mac: str) -> str:
    """A MAC as all of its spellings compare: in lower case, with colons. Other texts may come."""
    return mac.lower().translate(_SEPARATORS)


def shown_url(url: str) -> str:
    """A URL for people: without user name and password, and the values of telling parameters.

    Takes any text, as what stands in place of a URL may hold a secret just as well.
    """
    return _PARAMETER.sub(rf"\1{MASK}", _USER.sub(f"//{MASK}@", url))
