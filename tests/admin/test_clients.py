"""Where requests come from."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from xzgw.admin.clients import client_address, from_here

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


class ClientAddressTests(SynchronousTestCase):
    """X-Forwarded-For, believed as far as those who wrote it are."""

    def check(self, expected: str, peer: str, *forwarded: str) -> None:
        self.assertEqual(client_address(peer, forwarded, PROXIES), expected)

    def test_stranger(self) -> None:
        """Who is no proxy of ours is the client, whatever it says."""
        self.check("192.0.2.1", "192.0.2.1")
        self.check("192.0.2.1", "192.0.2.1", "203.0.113.9")
        self.assertEqual(client_address("10.0.0.1", ["203.0.113.9"], ()), "10.0.0.1")

    def test_proxy(self) -> None:
        """A proxy tells whom it was called by: the last one in the list."""
        self.check("203.0.113.9", "10.0.0.1", "203.0.113.9")
        self.check("203.0.113.9", "10.0.0.1", "1.2.3.4, 203.0.113.9")
        self.check("203.0.113.9", "10.0.0.1", "1.2.3.4", "203.0.113.9")
        self.check("2001:db8::1", "fd00::1", "2001:DB8:0::1")

    def test_proxies(self) -> None:
        """Several proxies in a row; what a stranger put before is not reached."""
        self.check("203.0.113.9", "10.0.0.1", "10.1.1.1, 203.0.113.9 ,10.0.0.2, fd00::2")
        self.check("10.1.1.1", "10.0.0.1", "10.1.1.1, 10.0.0.2")

    def test_silent_proxy(self) -> None:
        """A proxy that tells nothing, or nonsense, is itself all that is known."""
        self.check("10.0.0.1", "10.0.0.1")
        self.check("10.0.0.1", "10.0.0.1", "203.0.113.9, unknown")
        self.check("10.0.0.2", "10.0.0.1", "203.0.113.9:1234, 10.0.0.2")
        self.check("10.0.0.1", "10.0.0.1", ",")

    def test_mapped(self) -> None:
        """IPv4 addresses that IPv6 carries are IPv4 addresses."""
        self.check("203.0.113.9", "::ffff:10.0.0.1", "::ffff:203.0.113.9")

    def test_unix(self) -> None:
        """At a UNIX socket there is no address."""
        self.check("", "", "203.0.113.9")


class FromHereTests(SynchronousTestCase):
    """Whether all of a request's way is on this machine."""

    def test_direct(self) -> None:
        """Who is connected from this machine, and tells nothing else."""
        for peer in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(from_here(peer, (), ()), peer)
        for peer in ("192.0.2.1", "10.0.0.1", "::", "0.0.0.0", "fe80::1", "localhost", ""):
            self.assertFalse(from_here(peer, (), PROXIES), peer)

    def test_proxy(self) -> None:
        """A proxy here is believed if it is trusted; all that it names must be here."""
        local = [ip_network("127.0.0.1/32")]
        self.assertTrue(from_here("127.0.0.1", ["127.0.0.1"], local))
        self.assertTrue(from_here("127.0.0.1", ["::1 , 127.0.0.1", "127.0.0.1"], local))
        self.assertFalse(from_here("127.0.0.1", ["127.0.0.1"], ()))
        self.assertFalse(from_here("::1", ["127.0.0.1"], local))
        for value in ("192.0.2.1", "127.0.0.1, 192.0.2.1", "192.0.2.1, 127.0.0.1", "", "x", ","):
            self.assertFalse(from_here("127.0.0.1", [value], local), value)

    def test_far_proxy(self) -> None:
        """What is there on a proxy's machine is not here."""
        self.assertFalse(from_here("10.0.0.1", ["127.0.0.1"], PROXIES))
