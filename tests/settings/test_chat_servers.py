"""Checks of the entries in lists of chat servers."""

from __future__ import annotations

from tests.settings.test_checks import ChecksTestCase
from xzgw.settings.chat_servers import ChatServer, chat_server, chat_server_or_none, read_list
from xzgw.settings.checks import Fault

URL = "ws://host/"


class ChatServerTests(ChecksTestCase):
    """Plain addresses, and objects with a weight."""

    def test_plain(self) -> None:
        """An address alone has the weight 1."""
        self.assertEqual(chat_server(URL), ChatServer(URL, 1, ()))

    def test_list_in_a_variable(self) -> None:
        """Spaces or commas stand between addresses; a comma inside one belongs to it."""
        both = ["ws://a/", "wss://b/x,y"]
        for text in ("ws://a/ wss://b/x,y", " ws://a/,wss://b/x,y\n", "ws://a/ , wss://b/x,y"):
            self.assertEqual(read_list(text), both, text)

    def test_weight(self) -> None:
        """From 1 to 100; null counts as left out."""
        for weight in (1, 3, 100):
            self.assertEqual(chat_server({"url": URL, "weight": weight}).weight, weight)
        self.assertEqual(chat_server({"url": URL, "weight": None}).weight, 1)
        self.assertEqual(chat_server({"url": URL}).weight, 1)

    def test_bad_weight(self) -> None:
        """No other numbers, and no texts."""
        bad: tuple[object, ...] = (0, -1, 101, 1.5, "3", True, [])
        for weight in bad:
            (fault,) = self.faults(chat_server, {"url": URL, "weight": weight})
            self.assertEqual(fault.place, ".weight")
            self.assertEqual(fault.want, "a whole number from 1 to 100")

    def test_every_fault(self) -> None:
        """Each member's mistake is told."""
        faults = self.faults(chat_server, {"url": "http://host/", "weight": 0})
        self.assertEqual([fault.place for fault in faults], [".url", ".weight"])

    def test_no_address(self) -> None:
        """An address is needed."""
        expected = Fault(".url", "nothing", "the address of the chat server")
        for entry in ({}, {"url": None}, {"weight": 2}):
            self.assertEqual(self.faults(chat_server, entry)[0], expected)
        self.assert_refused(chat_server, (7, [URL], None, True))

    def test_unknown(self) -> None:
        """Members that mean nothing are kept by name."""
        self.assertEqual(chat_server({"url": URL, "wieght": 2}).unknown, ("wieght",))

    def test_placeholder(self) -> None:
        """Where a placeholder is excused, other mistakes are not."""
        self.assertIsNone(chat_server_or_none("ws://..."))
        self.assertIsNone(chat_server_or_none({"url": "ws://<ip>:8000/"}))
        self.assertEqual(chat_server_or_none(URL), ChatServer(URL))
        self.assertEqual(chat_server_or_none({"url": URL, "weight": 2}), ChatServer(URL, 2))
        self.assert_refused(chat_server_or_none, ("http://host/", 1, None))
        (fault,) = self.faults(chat_server_or_none, {"url": "http://host/"})
        self.assertEqual(fault.place, ".url")
