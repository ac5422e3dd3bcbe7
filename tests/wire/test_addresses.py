"""Addresses as texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.addresses import network_of, plain_ip, plain_mac, short_ip, shown_url


class ShortTests(SynchronousTestCase):
    """One spelling per address."""

    def test_short(self) -> None:
        """Only IPv4 that IPv6 carries is changed."""
        for given, expected in (
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:1", "::ffff:1"),
            ("2001:db8::1", "2001:db8::1"),
            ("local", "local"),
        ):
            self.assertEqual(short_ip(given), expected)


class MacTests(SynchronousTestCase):
    """One spelling per MAC."""

    def test_spellings(self) -> None:
        """Case and what stands between the pairs do not matter; nonsense stays nonsense."""
        for given in ("A0:85:e3:F4:49:34", "a0-85-e3-f4-49-34", "A0_85_E3_F4_49_34"):
            self.assertEqual(plain_mac(given), "a0:85:e3:f4:49:34")
        self.assertEqual((plain_mac(""), plain_mac("Nobody")), ("", "nobody"))


class ShownUrlTests(SynchronousTestCase):
    """URLs without their secrets."""

    def test_masked(self) -> None:
        """User names, passwords, and parameters by their names."""
        for given, expected in (
            ("ws://h/?token=hush", "ws://h/?token=***"),
            ("ws://h/?token=a=b?c;d/e@f&from=x", "ws://h/?token=***&from=x"),
            ("ws://h/?a=1&API_KEY=hush&from=x", "ws://h/?a=1&API_KEY=***&from=x"),
            ("ws://h/?a=1;pwd=hush", "ws://h/?a=1;pwd=***"),
            ("ws://h/?a=1?Authorization=hush", "ws://h/?a=1?Authorization=***"),
            ("ws://h/?x_signature_v2=hush#top", "ws://h/?x_signature_v2=***#top"),
            ("ws://h/?token=", "ws://h/?token=***"),
            ("wss://me:hush@h:1/p?q=1", "wss://***@h:1/p?q=1"),
            ("wss://me@h", "wss://***@h"),
            ("no URL?token=hush or so", "no URL?token=***"),
        ):
            self.assertEqual(shown_url(given), expected)

    def test_the_rest(self) -> None:
        """Everything else is as it was."""
        for url in (
            "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway",
            "wss://token.example/key/?from=a@b&token",
            "ws://[::1]:8000/?user=me&device-id=1#token=x",
            "",
        ):
            self.assertEqual(shown_url(url), url)


class PlainTests(SynchronousTestCase):
    """Addresses that compare."""

    def test_plain(self) -> None:
        """All spellings of one are the same; what is no address stays as it is."""
        for given, expected in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:c000:201", "192.0.2.1"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("local", "local"),
            ("", ""),
        ):
            self.assertEqual(plain_ip(given), expected)


class NetworkTests(SynchronousTestCase):
    """What is one address to those who count."""

    def test_ipv4(self) -> None:
        """Each by itself, as is a UNIX socket's."""
        for ip in ("192.0.2.1", "192.0.2.2", "local", "no:address"):
            self.assertEqual(network_of(ip), ip)

    def test_ipv6(self) -> None:
        """All of a /64, however it is spelt."""
        for ip in ("2001:db8:1:2::", "2001:db8:1:2::7", "2001:DB8:1:2:ffff:ffff:ffff:ffff"):
            self.assertEqual(network_of(ip), "2001:db8:1:2::/64")
        self.assertEqual(network_of("2001:db8:1:3::7"), "2001:db8:1:3::/64")
        self.assertEqual(network_of("fe80::1%eth0"), "fe80::/64")

    def test_translated(self) -> None:
        """IPv4 addresses behind a NAT64 are as many as they are."""
        self.assertEqual(network_of("64:ff9b::192.0.2.1"), "64:ff9b::192.0.2.1")
        self.assertEqual(network_of("64:ff9b::c000:202"), "64:ff9b::c000:202")
        self.assertEqual(network_of("64:ff9b:0:0:0:1::"), "64:ff9b::/64")
