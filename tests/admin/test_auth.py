"""Tokens of the day, and who is kept waiting."""

from __future__ import annotations

import hashlib
import time
from calendar import timegm
from ipaddress import ip_network

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.admin.support import KEY, PATH, TOKEN, AdminTestCase
from xzgw.admin.auth import Tokens

HOUR = 3600


def token(day: str, key: str = KEY) -> bytes:
    """The token of a day, made independently."""
    return hashlib.sha256((day + key).encode()).hexdigest().encode()


def utc(text: str) -> float:
    """Unix time of a UTC moment."""
    return float(timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")))


def shanghai(moment: float) -> time.struct_time:
    """Local time eight hours ahead of UTC."""
    return time.gmtime(moment + 8 * HOUR)


class TokensTests(SynchronousTestCase):
    """Which tokens are good when."""

    def good(self, moment: str, *days: str) -> list[str]:
        """Those of the days whose tokens are good at this UTC moment, in Shanghai."""
        tokens = Tokens(lambda: KEY, lambda: utc(moment), shanghai)
        return [day for day in days if tokens.accept(token(day))]

    def test_local_and_utc_date(self) -> None:
        """Where the local date is ahead, both dates are good, and no other."""
        days = ("2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02")
        self.assertEqual(self.good("2026-01-31 12:00:00", *days), ["2026-01-31"])
        self.assertEqual(self.good("2026-01-31 18:00:00", *days), ["2026-01-31", "2026-02-01"])

    def test_grace(self) -> None:
        """The days before and after are good until, and from, five minutes around midnight."""
        days = ("2026-01-31", "2026-02-01", "2026-02-02")
        both = ["2026-01-31", "2026-02-01"]
        # Midnight in Shanghai is 16:00 UTC.
        self.assertEqual(self.good("2026-01-31 15:54:59", *days), ["2026-01-31"])
        self.assertEqual(self.good("2026-01-31 15:55:00", *days), both)
        # Midnight of UTC, when Shanghai has been in the new day for long.
        self.assertEqual(self.good("2026-02-01 00:04:59", *days), both)
        self.assertEqual(self.good("2026-02-01 00:05:00", *days), ["2026-02-01"])

    def test_not_a_token(self) -> None:
        """Anything else is wrong: empty, longer, in upper case, not ASCII, of another key."""
        tokens = Tokens(lambda: KEY, lambda: utc("2026-01-31 12:00:00"), time.gmtime)
        right = token("2026-01-31")
        self.assertTrue(tokens.accept(right))
        other_key = token("2026-01-31", KEY + "x")
        for wrong in (b"", right[:-1], right + b"0", right.upper(), b"\xff" * 64, other_key):
            self.assertFalse(tokens.accept(wrong), wrong)

    def test_no_key(self) -> None:
        """Without a key no token is good, not even that of an empty key."""
        tokens = Tokens(lambda: "", lambda: utc("2026-01-31 12:00:00"), time.gmtime)
        self.assertFalse(tokens.accept(token("2026-01-31", "")))

    def test_change(self) -> None:
        """A new day and a new key count at once, and the old ones no more."""
        now, key = [utc("2026-01-31 12:00:00")], [KEY]
        tokens = Tokens(lambda: key[0], lambda: now[0], time.gmtime)
        self.assertTrue(tokens.accept(token("2026-01-31")))
        now[0] += 24 * HOUR
        self.assertFalse(tokens.accept(token("2026-01-31")))
        self.assertTrue(tokens.accept(token("2026-02-01")))
        key[0] = "Another1"
        self.assertFalse(tokens.accept(token("2026-02-01")))
        self.assertTrue(tokens.accept(token("2026-02-01", "Another1")))


class GuardTests(AdminTestCase):
    """What the API answers with and without a token."""

    def test_missing(self) -> None:
        """No token: 401 in the path's own dialect, and nobody is suspected."""
        answer = self.ask("GET", PATH, token=None)
        self.assertProblem(answer, 401, "a bearer token is needed")
        self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        answer = self.ask("POST", "/api/devices/status", {"clientIds": []}, token=None)
        self.assertFailed(answer, 401, "a bearer token is needed")
        self.assertEqual(self.wrong, [])

    def test_wrong(self) -> None:
        """A wrong token: 401, and its address is noted."""
        self.assertProblem(
            self.ask("GET", PATH, token="0" * 64), 401, "wrong token; it changes each day"
        )
        self.assertEqual(self.wrong, ["127.0.0.1"])

    def test_behind_proxy(self) -> None:
        """The address noted is the one that a trusted proxy tells, and only such a one."""
        headers = {"X-Forwarded-For": "203.0.113.9"}
        self.ask("GET", PATH, token="0" * 64, headers=headers)
        self.proxies.append(ip_network("127.0.0.0/8"))
        self.ask("GET", PATH, token="0" * 64, headers=headers)
        self.assertEqual(self.wrong, ["127.0.0.1", "203.0.113.9"])

    def test_odd_bytes(self) -> None:
        """A wrong token is noted whatever is said about where it comes from."""
        self.proxies.append(ip_network("127.0.0.0/8"))
        headers = {"X-Forwarded-For": b"\xff"}
        self.assertEqual(self.ask("GET", PATH, token="0" * 64, headers=headers).status, 401)
        self.assertEqual(self.wrong, ["127.0.0.1"])

    def test_before_everything(self) -> None:
        """401 comes before 404, 405, 413 and 415."""
        for method, path in (("GET", "/x"), ("GET", "/v1/nothing"), ("PUT", PATH), ("TRACE", "/x")):
            self.assertEqual(self.ask(method, path, token=None).status, 401, path)
        answer = self.ask("POST", "/api/call/accept", b" " * 70_000, token=None)
        self.assertEqual(answer.status, 401)

    def test_schemes(self) -> None:
        """The scheme's case does not matter; another scheme, or two headers, are no token."""
        for header, status in (
            (f"bearer {TOKEN}", 200),
            (f"BEARER   {TOKEN} ", 200),
            (f"Basic {TOKEN}", 401),
            (TOKEN, 401),
            ("Bearer", 401),
            ("", 401),
        ):
            answer = self.ask("GET", PATH, token=None, headers={"Authorization": header})
            self.assertEqual(answer.status, status, header)

    def test_two_headers(self) -> None:
        """Two Authorization headers are ambiguous, even if one is right."""
        pair = [f"Bearer {TOKEN}", f"Bearer {TOKEN}"]
        pending = self.client.get("http://gateway" + PATH, headers={"Authorization": pair})
        self.client.flush()
        self.assertEqual(self.successResultOf(pending).code, 401)

    def test_late(self) -> None:
        """Who guesses too often waits for the answer; the right token does not."""
        self.delay = 1.0
        pending = self.begin("GET", PATH, token="0" * 64)
        self.client.flush()
        self.assertEqual(self.ask("GET", PATH).status, 200)
        self.clock.advance(0.9)
        self.client.flush()
        self.assertNoResult(pending)
        self.clock.advance(0.1)
        self.client.flush()
        self.assertEqual(self.successResultOf(pending).status, 401)

    def test_never_logged(self) -> None:
        """Neither good nor bad tokens get into the log."""
        with capturedLogs() as logged:
            self.ask("GET", PATH)
            self.ask("GET", PATH, token="guess")
        self.assertNotIn(TOKEN, repr(logged))
        self.assertNotIn("guess", repr(logged))
