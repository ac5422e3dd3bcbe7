"""The rules of texts and topics, by the names of their clauses."""

from __future__ import annotations

from tests.wire.mqtt_examples import CLEAN, USERNAME, WILL, RuleTests, connect, listing, publish
from xzgw.wire.packets import Connect, Publish, Subscribe, Unsubscribe


class TextTests(RuleTests):
    """Every field that is text."""

    def assert_text_refused(self, text: bytes, clause: str) -> None:
        """In no packet does this text pass."""
        field = bytes((0, len(text))) + text
        self.assert_refused(connect(CLEAN, field), clause)  # MQTT-3.1.3-4
        self.assert_refused(connect(CLEAN | WILL, b"\0\1c" + field + b"\0\0"), clause)  # -3.1.3-10
        self.assert_refused(connect(CLEAN | USERNAME, b"\0\1c" + field), clause)  # MQTT-3.1.3-11
        self.assert_refused(publish(text), clause)  # MQTT-3.3.2-1
        self.assert_refused(listing(0x82, b"ok", text), clause)  # MQTT-3.8.3-1
        self.assert_refused(listing(0xA2, b"ok", text), clause)  # MQTT-3.10.3-1

    def test_ill_formed(self) -> None:
        """MQTT-1.5.3-1: no surrogates, overlong forms, stray or missing bytes."""
        for text in (b"\xed\xa0\x80", b"\xed\xa0\xbd\xed\xb8\x80", b"\xc1\x81", b"\xc0\x80"):
            self.assert_text_refused(text, "MQTT-1.5.3-1")
        for text in (b"\x80", b"a\xe5\xb0", b"\xff", b"\xf4\x90\x80\x80"):
            self.assert_text_refused(text, "MQTT-1.5.3-1")

    def test_null(self) -> None:
        """MQTT-1.5.3-2, MQTT-4.7.3-2: U+0000 is refused anywhere in a text."""
        for text in (b"\x00", b"a\x00", b"\x00b"):
            self.assert_text_refused(text, "MQTT-1.5.3-2")

    def test_byte_order_mark(self) -> None:
        """MQTT-1.5.3-3: U+FEFF stays part of the text."""
        mark = b"\xef\xbb\xbf"
        self.assert_read(
            connect(CLEAN, b"\0\4" + mark + b"c"), Connect("\ufeffc", None, None, 60, True, 4, None)
        )
        self.assert_read(publish(mark), Publish("\ufeff", b""))

    def test_other_characters(self) -> None:
        """Control characters and characters outside the basic plane pass."""
        self.assert_read(publish(b"\x01\x7f\xf0\x9f\x98\x80"), Publish("\x01\x7f\U0001f600", b""))


class TopicTests(RuleTests):
    """Topic names and topic filters."""

    def test_empty(self) -> None:
        """MQTT-4.7.3-1: a topic has at least one character."""
        self.assert_refused(publish(b""), "MQTT-4.7.3-1")
        self.assert_refused(publish(b"", 0x32), "MQTT-4.7.3-1")
        self.assert_refused(listing(0x82, b""), "MQTT-4.7.3-1")
        self.assert_refused(listing(0xA2, b"a", b""), "MQTT-4.7.3-1")
        self.assert_refused(connect(CLEAN | WILL, b"\0\1c\0\0\0\0"), "MQTT-4.7.3-1")

    def test_wildcard_in_name(self) -> None:
        """MQTT-3.3.2-2, MQTT-4.7.1-1: a topic name has no wildcard."""
        for topic in (b"#", b"+", b"a/#", b"a/+/b", b"a#", b"+b"):
            self.assert_refused(publish(topic), "MQTT-3.3.2-2")
            field = bytes((0, len(topic))) + topic
            self.assert_refused(connect(CLEAN | WILL, b"\0\1c" + field + b"\0\0"), "MQTT-3.3.2-2")

    def test_hash_placement(self) -> None:
        """MQTT-4.7.1-2: # is the last character and alone in its level."""
        for topic in (b"a#", b"a/#/b", b"#/a", b"##", b"#/#", b"a/b#", b"/#/", b"#a"):
            self.assert_refused(listing(0x82, topic), "MQTT-4.7.1-2")
            self.assert_refused(listing(0xA2, topic), "MQTT-4.7.1-2")

    def test_plus_placement(self) -> None:
        """MQTT-4.7.1-3: + is alone in its level."""
        for topic in (b"a+", b"+a", b"++", b"a/b+/c", b"+/+b/#"):
            self.assert_refused(listing(0x82, topic), "MQTT-4.7.1-3")
            self.assert_refused(listing(0xA2, topic), "MQTT-4.7.1-3")

    def test_good_filters(self) -> None:
        """Well-placed wildcards, empty levels and $ pass."""
        for topic in (b"#", b"+", b"/", b"a/#", b"/#", b"+/#", b"+/+", b"a/+/b", b"//", b"$SYS/#"):
            self.assert_read(listing(0x82, topic), Subscribe(1, ((topic.decode(), 0),)))
            self.assert_read(listing(0xA2, topic), Unsubscribe(1, (topic.decode(),)))
