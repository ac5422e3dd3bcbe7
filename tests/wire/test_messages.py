"""JSON envelopes: what is refused, and what is said in the gateway's own name."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire import messages
from xzgw.wire.messages import MessageError, parse

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates too: JSON can write them as escapes.
    | st.text(alphabet=st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
# An escaped pair of surrogates is one character in JSON, so it does not come back as two.
json_objects = st.dictionaries(st.text(), json_values).filter(
    lambda value: json.loads(json.dumps(value)) == value
)


def nested(depth: int) -> bytes:
    """A JSON object whose containers nest that deep, itself included."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


class ParseTests(SynchronousTestCase):
    """Only one JSON object is a message."""

    def assertRefused(self, text: bytes, reason: str) -> None:
        error = self.assertRaises(MessageError, parse, text)
        self.assertEqual(str(error), reason)

    def test_object(self) -> None:
        """Members come as they are, escapes resolved."""
        text = ' {"type":"listen","名":"\\u5c0f\\n","n":[1,-2.5e3,null,true]}\r\n'
        expected = {"type": "listen", "名": "小\n", "n": [1, -2500.0, None, True]}
        self.assertEqual(parse(text.encode()), expected)

    def test_not_utf8(self) -> None:
        """Bytes that are not UTF-8, encoded surrogates included."""
        for text in (b'{"a":"\xff"}', b"\xc0\x80", b'{"a":"\xed\xa0\x80"}'):
            self.assertRefused(text, "not UTF-8")

    def test_not_json(self) -> None:
        """Text that is not JSON, or not all of it."""
        for text in (
            b"",
            b"{",
            b"{}{}",
            b"{} x",
            b"{'a':1}",
            b'{"a":1,}',
            b'{"a":01}',
            b'{"a":"\n"}',
            b"{}\x00",
            b"\xef\xbb\xbf{}",
            "认证失败".encode(),
        ):
            self.assertRefused(text, "not JSON")

    def test_absurd_numbers(self) -> None:
        """Numbers that JSON does not have or that cannot be held."""
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000):
            self.assertRefused(b'{"a":' + number + b"}", "not JSON")

    def test_not_an_object(self) -> None:
        """JSON that is something else."""
        for text in (b"[]", b"1", b'"a"', b"null", b"true", b"[{}]"):
            self.assertRefused(text, "not a JSON object")

    def test_too_deep(self) -> None:
        """A bomb of brackets is refused, whether Python could follow it or not."""
        for depth in (101, 500, 49_999):
            self.assertRefused(nested(depth), "nested too deep")
        self.assertRefused(b'{"a":' * 101 + b"1" + b"}" * 101, "nested too deep")

    def test_too_many(self) -> None:
        """What would take long is not even tried: wide, deep or no JSON at all."""
        for text in (
            b'{"a":[' + b"[]," * 49_999 + b"1]}",
            b'{"a":[' + b"{}," * 49_999 + b"1]}",
            b"[" * 50_001,
        ):
            self.assertRefused(text, "too many objects and lists")
        most = b'{"a":[' + b"[]," * 49_998 + b"1]}"
        self.assertEqual(len(parse(most)["a"]), 49_999)

    def test_deep_enough(self) -> None:
        """What is accepted can also be written again."""
        text = nested(100)
        self.assertEqual(messages.encode(parse(text)), text)

    def test_wide(self) -> None:
        """Many brackets are not deep ones, nor are those in a string."""
        values: list[Any] = [[[]] * 500, [{"b": {}}] * 500, "[" * 500]
        for value in values:
            self.assertEqual(parse(messages.encode({"a": value})), {"a": value})

    @settings(derandomize=True, deadline=None)
    @given(st.binary() | st.text().map(str.encode))
    def test_junk(self, text: bytes) -> None:
        """Junk raises MessageError alone."""
        try:
            message = parse(text)
        except MessageError:
            return
        self.assertIsInstance(message, dict)


class EncodeTests(SynchronousTestCase):
    """What we say ourselves."""

    @settings(derandomize=True, deadline=None)
    @given(json_objects)
    def test_round_trip(self, message: dict[str, Any]) -> None:
        """What is encoded parses to the same."""
        self.assertEqual(parse(messages.encode(message)), message)

    def test_compact(self) -> None:
        """No spaces, and no escapes that UTF-8 does without."""
        text = messages.encode({"a": [1, "小智😀"], "b": None})
        self.assertEqual(text, '{"a":[1,"小智😀"],"b":null}'.encode())

    def test_lone_surrogate(self) -> None:
        """Half a character can only be escaped."""
        text = b'{"a":"\\ud83d"}'
        self.assertEqual(messages.encode(parse(text)), text)

    def test_not_a_number(self) -> None:
        """Floats that JSON lacks are the caller's mistake."""
        for number in (float("nan"), float("inf")):
            self.assertRaises(ValueError, messages.encode, {"a": number})

    def test_text_member(self) -> None:
        """Only a string is a text."""
        self.assertEqual(messages.text_member({"a": "b"}, "a"), "b")
        for message in ({}, {"a": 1}, {"a": None}, {"a": ["b"]}):
            self.assertIsNone(messages.text_member(message, "a"))

    def test_goodbye(self) -> None:
        """A goodbye names its session if there is one."""
        self.assertEqual(messages.goodbye("s1"), b'{"session_id":"s1","type":"goodbye"}')
        self.assertEqual(messages.goodbye(""), b'{"session_id":"","type":"goodbye"}')
        self.assertEqual(messages.goodbye(None), b'{"type":"goodbye"}')

    def test_error(self) -> None:
        """An error is words."""
        self.assertEqual(messages.error('"no"'), b'{"type":"error","message":"\\"no\\""}')

    def test_alert(self) -> None:
        """An alert is words, and a face."""
        alert = b'{"type":"alert","status":"a","message":"b","emotion":"sad"}'
        self.assertEqual(messages.alert("a", "b"), alert)

    def test_mcp(self) -> None:
        """JSON-RPC travels in an envelope, with or without a session id."""
        self.assertEqual(messages.mcp({"id": 1}), b'{"type":"mcp","payload":{"id":1}}')
        self.assertEqual(
            messages.mcp({"id": 1}, "s1"),
            b'{"session_id":"s1","type":"mcp","payload":{"id":1}}',
        )

    def test_server_hello(self) -> None:
        """The server gets the device's hello as version 2 over WebSocket, all else untouched."""
        hello = parse(
            b'{"type":"hello","version":3,"transport":"udp","features":{"mcp":true},'
            b'"audio_params":{"format":"opus"},"text_font":"x"}'
        )
        self.assertEqual(
            messages.server_hello(hello),
            b'{"type":"hello","version":2,"transport":"websocket","features":{"mcp":true},'
            b'"audio_params":{"format":"opus"},"text_font":"x"}',
        )
        self.assertEqual(hello["version"], 3)


class HelloReplyTests(SynchronousTestCase):
    """The reply that opens a session on the device."""

    def reply(self, audio_params: object) -> dict[str, Any]:
        text = messages.device_hello_reply(
            session_id="s1",
            audio_params=audio_params,
            server="192.0.2.1",
            port=8884,
            key=bytes(range(16)),
            nonce=b"\x01" + bytes(15),
        )
        return parse(text)

    def test_whole(self) -> None:
        """Everything the device needs, in its spelling."""
        expected = {
            "type": "hello",
            "version": 3,
            "session_id": "s1",
            "transport": "udp",
            "udp": {
                "server": "192.0.2.1",
                "port": 8884,
                "encryption": "aes-128-ctr",
                "key": "000102030405060708090a0b0c0d0e0f",
                "nonce": "01000000000000000000000000000000",
            },
            "audio_params": {"sample_rate": 24000},
        }
        self.assertEqual(self.reply({"sample_rate": 24000}), expected)

    def test_no_audio_params(self) -> None:
        """A server that sent none leaves none, rather than null."""
        self.assertNotIn("audio_params", self.reply(None))
