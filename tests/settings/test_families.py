"""Where the gateway listens when nobody says at which address."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from xzgw.settings import families


class _V6Only(socket.socket):
    """Sockets of a host where IPv6 and IPv4 are kept apart."""

    def getsockopt(self, *_: object) -> int:  # type: ignore[override]
        return 1


def _no_ipv6(*_: object) -> socket.socket:
    raise OSError(97, "Address family not supported by protocol")


class FamiliesTests(SynchronousTestCase):
    """On hosts of all kinds."""

    def setUp(self) -> None:
        self.addCleanup(families.any_address.cache_clear)

    def use(self, sockets: Callable[..., socket.socket]) -> None:
        families.any_address.cache_clear()
        self.patch(socket, "socket", sockets)

    def test_both(self) -> None:
        """Both families at once, where a socket for IPv6 takes IPv4."""
        families.any_address.cache_clear()
        self.assertEqual(families.any_address(), "::")
        self.assertEqual(families.everywhere(1883), "tcp6:1883")

    def test_apart(self) -> None:
        """IPv4 alone, where it does not."""
        self.use(_V6Only)
        self.assertEqual((families.any_address(), families.everywhere(0)), ("", "tcp:0"))

    def test_no_ipv6(self) -> None:
        """IPv4 alone, where there is no IPv6."""
        self.use(_no_ipv6)
        self.assertEqual((families.any_address(), families.everywhere(1)), ("", "tcp:1"))
