"""What is told before any device comes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.start_checks import RECEIVE_BUFFER, drawback, small_buffer


class DrawbackTests(SynchronousTestCase):
    """Addresses that devices elsewhere cannot send to."""

    def test_unfit(self) -> None:
        """Each kind of address that cannot work is told apart."""
        for host, words in (
            ("127.0.0.1", "loopback"),
            ("127.9.9.9", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("localhost", "loopback"),
            ("LocalHost.", "loopback"),
            ("0.0.0.0", "no address that one can send to"),
            ("::", "no address that one can send to"),
            ("224.0.0.1", "many machines"),
            ("ff02::1", "many machines"),
            ("255.255.255.255", "many machines"),
            ("169.254.7.7", "link-local"),
            ("fe80::1", "link-local"),
            ("172.17.0.2", "Docker"),
            ("10.88.0.9", "Podman"),
        ):
            self.assertIn(words, drawback(host) or "", host)

    def test_fit(self) -> None:
        """Addresses and names that may well work are not spoken of, nor is what is neither."""
        for host in (
            *("192.168.1.2", "10.0.0.1", "172.18.0.2", "203.0.113.7", "2001:db8::1"),
            *("gateway.example", "localhost.example", ""),
        ):
            self.assertIsNone(drawback(host), host)


class BufferTests(SynchronousTestCase):
    """The receive buffer for audio."""

    def test_small(self) -> None:
        """Less than wished is told with the remedy, as much or more is fine."""
        self.assertIsNone(small_buffer(RECEIVE_BUFFER))
        self.assertIsNone(small_buffer(2 * RECEIVE_BUFFER))
        told = small_buffer(425984) or ""
        self.assertIn("416 KiB", told)
        self.assertIn("net.core.rmem_max=4194304", told)
