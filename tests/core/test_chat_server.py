"""What is known of one chat server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.chat_server import FIRST_SHARE, SLOW_START, Failures, Server


class FailuresTests(SynchronousTestCase):
    """Failures of one kind."""

    def test_within_the_pause(self) -> None:
        """One more within the pause is known by its reason, and counts for nothing."""
        failures = Failures()
        self.assertTrue(failures.add("one", 10.0))
        self.assertFalse(failures.add("two", 10.9))
        self.assertEqual((failures.count, failures.retry_at, failures.error), (1, 11.0, "two"))
        self.assertTrue(failures.add("three", 11.0))
        self.assertEqual((failures.count, failures.retry_at), (2, 13.0))

    def test_clear(self) -> None:
        """It starts anew; why it failed is still known."""
        failures = Failures()
        failures.add("one", 10.0)
        failures.clear()
        self.assertEqual((failures.count, failures.retry_at, failures.error), (0, 0.0, "one"))
        self.assertTrue(failures.add("two", 10.1))
        self.assertEqual(failures.retry_at, 11.1)


class ServerTests(SynchronousTestCase):
    """Both kinds together."""

    def test_last_error(self) -> None:
        """That of what is failing, then that of what came last."""
        server = Server("ws://a/")
        self.assertEqual(server.last_error, "")
        server.in_sessions.add("no hello", 1.0)
        server.in_checks.add("check: refused", 2.0)
        self.assertEqual((server.last_error, server.failures), ("check: refused", 2))
        server.in_checks.clear()
        self.assertEqual((server.last_error, server.failures), ("no hello", 1))
        server.in_sessions.clear()
        self.assertEqual((server.last_error, server.failures), ("check: refused", 0))

    def test_load(self) -> None:
        """By weight; after a recovery it seems heavier, less and less."""
        server = Server("ws://a/")
        server.sessions, server.weight = 5, 3
        self.assertEqual(server.load(100.0), 2.0)
        server.recovered_at = 100.0
        self.assertAlmostEqual(server.load(100.0), 2.0 / FIRST_SHARE)
        self.assertEqual(server.load(100.0 + SLOW_START), 2.0)
