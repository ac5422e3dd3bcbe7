"""Checks of the webhooks in the JSON file."""

from __future__ import annotations

from tests.settings.test_checks import ChecksTestCase
from xzgw.core.events import KINDS
from xzgw.settings.checks import Fault
from xzgw.settings.webhooks import Webhook, webhooks

URL = "https://a.example/hush"


class WebhooksTests(ChecksTestCase):
    """From JSON to entries."""

    def one(self, **members: object) -> Webhook:
        (hook,) = webhooks([{"url": URL, **members}])
        return hook

    def fault(self, *entries: object) -> Fault:
        (fault,) = self.faults(webhooks, list(entries))
        return fault

    def test_least(self) -> None:
        """An address is enough; null counts as left out."""
        expected = Webhook(URL, None, frozenset(), ())
        self.assertEqual(self.one(), expected)
        self.assertEqual(self.one(secret=None, events=None), expected)
        self.assertEqual(webhooks([]), ())

    def test_events(self) -> None:
        """Every kind there is, in a list; one alone may stand without."""
        self.assertEqual(self.one(events=list(KINDS)).events, frozenset(KINDS))
        self.assertEqual(self.one(events=["call", "call"]).events, {"call"})
        self.assertEqual(self.one(events="call").events, {"call"})
        self.assertEqual(self.one(events=[]).events, frozenset())

    def test_unknown_kind(self) -> None:
        """Other kinds are mistakes, and those there are are named."""
        fault = self.fault({"url": URL, "events": ["call", "gap"]})
        self.assertEqual((fault.place, fault.found), ("[0].events[1]", "'gap'"))
        self.assertEqual(fault.want, "one of " + ", ".join(KINDS))
        self.assertEqual(self.fault({"url": URL, "events": [["call"]]}).found, "a list")

    def test_secret(self) -> None:
        """A text, of any characters; nothing of it is ever shown."""
        self.assertEqual(self.one(secret=" 安静 ").secret, " 安静 ")
        self.assertNotIn("hidden", repr(self.one(secret="hidden")))
        for bad in ("", 12345, ["12345"], {"12345": 1}, False, "12345\ud800"):
            fault = self.fault({"url": URL, "secret": bad})
            self.assertEqual(fault.place, "[0].secret")
            self.assertNotIn("12345", fault.found + fault.want)

    def test_no_address(self) -> None:
        """An address is needed."""
        for entry in ({}, {"url": None}, {"secret": "x"}):
            fault = self.fault(entry)
            self.assertEqual((fault.place, fault.found), ("[0].url", "nothing"))

    def test_same_address(self) -> None:
        """An address may be there once only; its path is not shown."""
        fault = self.fault({"url": URL}, {"url": "http://b/"}, {"url": URL, "secret": "x"})
        expected = Fault("[2].url", "another at 'https://a.example'", "each address once")
        self.assertEqual(fault, expected)

    def test_unknown_members(self) -> None:
        """Members that mean nothing are kept by name."""
        self.assertEqual(self.one(urll=1, event=2).unknown, ("urll", "event"))

    def test_no_list(self) -> None:
        """It is a list of objects."""
        self.assert_refused(webhooks, (7, URL, {"url": URL}, True))
        for entry in (7, URL, [URL], None):
            self.assertEqual(self.fault(entry).want, "an object")
