"""Addresses as texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.addresses import short_ip


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
