"""IP addresses as texts."""

from __future__ import annotations


def short_ip(ip: str) -> str:
    """An IPv4 address that IPv6 carries (::ffff:1.2.3.4) in its own form, others as they are."""
    return ip.removeprefix("::ffff:") if "." in ip else ip
