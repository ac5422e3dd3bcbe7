"""Datagrams for no open session, counted by address."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.strays import MAX_ADDRESSES, Strays


class StraysTests(SynchronousTestCase):
    def test_counts(self) -> None:
        """By IP address; one that a socket for both families maps is the same."""
        strays = Strays()
        for ip in ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"):
            strays.note(ip)
        counts = [strays.count(ip) for ip in ("192.0.2.1", "2001:db8::1", "192.0.2.2")]
        self.assertEqual(counts, [3, 1, 0])

    def test_bounded(self) -> None:
        """Of very many addresses those heard least recently are forgotten."""
        strays = Strays()
        for number in range(MAX_ADDRESSES):
            strays.note(str(number))
        strays.note("0")
        strays.note("another")
        self.assertEqual([strays.count(ip) for ip in ("0", "1", "2", "another")], [2, 0, 1, 1])
