"""Messages for people: what opens a door is masked, all else is there."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire import messages
from xzgw.wire.masking import SHOWN, masked, masked_text

KEY = "00112233445566778899aabbccddeeff"


class MaskedTests(SynchronousTestCase):
    """JSON objects."""

    def check(self, message: Any, expected: Any) -> None:
        self.assertEqual(masked({"x": message}), {"x": expected})

    def test_hello_reply(self) -> None:
        """Key and nonce of a session."""
        reply = messages.device_hello_reply(
            session_id="s1",
            audio_params={"frame_duration": 60},
            server="192.0.2.1",
            port=8884,
            key=bytes.fromhex(KEY),
            nonce=bytes(16),
        )
        udp = {**json.loads(reply)["udp"], "key": "***", "nonce": "***"}
        self.assertEqual(masked(json.loads(reply)), {**json.loads(reply), "udp": udp})

    def test_members(self) -> None:
        """Members with a telling name, whatever their value, at any depth."""
        self.check(
            {"Token": "a", "passwords": 5, "n": 5}, {"Token": "***", "passwords": "***", "n": 5}
        )
        self.check([[{"apiKey": "a"}], 1.5], [[{"apiKey": "***"}], 1.5])
        self.check({"auth": None, "key": True}, {"auth": None, "key": True})

    def test_not_masked_as_a_whole(self) -> None:
        """A schema that has such a member is still a schema."""
        schema = {"password": {"type": "string"}, "required": ["password"]}
        self.check(schema, schema)

    def test_lists(self) -> None:
        """What a list with a telling name has, but for objects, which are looked into."""
        self.check(
            {"keys": ["a", 1, ["b"], {"n": 5, "pwd": "c"}]},
            {"keys": ["***", "***", ["***"], {"n": 5, "pwd": "***"}]},
        )

    def test_addresses(self) -> None:
        """Credentials in URLs."""
        self.check("http://u:p@a/?token=abc&b=c", "http://***@a/?token=***&b=c")

    def test_json_in_texts(self) -> None:
        """Results of tools are JSON in a text: it is looked into."""
        self.check('{"token": "a", "b": [1]}', '{"token":"***","b":[1]}')
        self.check(' {"key":"说","a":["说"]}', '{"key":"***","a":["说"]}')

    def test_json_deeper_in_texts(self) -> None:
        """What nests again in there is not shown."""
        inner = json.dumps({"a": json.dumps({"token": "a"})})
        self.check(inner, '{"a":"***"}')
        self.check('{"a":"b"}', '{"a":"b"}')

    def test_not_quite_json(self) -> None:
        """A text that only begins like JSON is a text, lone surrogates included."""
        for text in ("{hello", "[1", "{\ud800", '{}, "y": {}', "[laughs] hello"):
            self.check(text, text)

    def test_broken_json(self) -> None:
        """One that could have a secret is not shown."""
        for text in ('{"token":"a"', '[{"token":"a"}]', '{"token":"a"}{}'):
            self.check(text, "***")

    def test_as_deep_as_messages(self) -> None:
        """What messages.parse takes is no deeper than can be masked, even twice."""
        deep = '{"x":' + "[" * 98 + '"x"' + "]" * 98 + "}"
        text = b'{"a":' * 99 + json.dumps(deep).encode() + b"}" * 99
        message = masked(messages.parse(text))
        self.assertIn("[[", json.dumps(message))


class MaskedTextTests(SynchronousTestCase):
    """Messages as they come."""

    def test_object(self) -> None:
        """A message."""
        self.assertEqual(masked_text(b'{"token":"a"}'), {"message": {"token": "***"}})

    def test_others(self) -> None:
        """Of what is none, some characters and the reason."""
        text = "认证失败".encode()
        self.assertEqual(masked_text(text), {"start": "认证失败", "fault": "not JSON"})
        self.assertEqual(len(masked_text(b"a" * 1000)["start"]), SHOWN)
        self.assertEqual(masked_text(b'{"token":"a"')["start"], "***")
