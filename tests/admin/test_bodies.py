"""Which bodies are read, and what is said of the others."""

from __future__ import annotations

import json

from tests.admin.support import AdminTestCase
from xzgw.admin.bodies import MAX_BODY

CALL = "/api/call/request"
MACS = {"caller_mac": "a", "target_mac": "b"}


class BodyTests(AdminTestCase):
    """By way of a call that takes a body."""

    def test_content_type(self) -> None:
        """Only application/json, in any case and with any parameters."""
        for kind, status in (
            ("application/json", 200),
            ("Application/JSON; charset=utf-8", 200),
            ("application/json ;x", 200),
            ("text/json", 415),
            ("application/jsonx", 415),
            ("application/x-www-form-urlencoded", 415),
            ("", 415),
        ):
            answer = self.ask("POST", CALL, MACS, headers={"Content-Type": kind})
            self.assertEqual(answer.status, status, kind)
        self.assertEqual(self.ask("POST", CALL).status, 415)

    def test_compressed(self) -> None:
        """A compressed body is not taken; one that says it is not compressed is."""
        gzip = self.ask("POST", CALL, MACS, headers={"Content-Encoding": "gzip"})
        self.assertFailed(gzip, 415, "the body must not be compressed")
        plain = self.ask("POST", CALL, MACS, headers={"Content-Encoding": "Identity"})
        self.assertEqual(plain.status, 200)

    def test_odd_bytes(self) -> None:
        """Headers that are not UTF-8 are as wrong as any others, and no fault of ours."""
        for name in ("Content-Type", "Content-Encoding"):
            answer = self.ask("POST", CALL, MACS, headers={name: b"application/\x8e\xf2"})
            self.assertEqual(answer.status, 415, name)

    def test_size(self) -> None:
        """64 KiB are fine, one byte more is not."""
        body = json.dumps(MACS).encode()
        self.assertEqual(self.ask("POST", CALL, body.ljust(MAX_BODY)).status, 200)
        answer = self.ask("POST", CALL, body.ljust(MAX_BODY + 1))
        self.assertFailed(answer, 413, "the body must have at most 65536 bytes")

    def test_not_an_object(self) -> None:
        """Anything but one JSON object in UTF-8 is told apart."""
        for body, reason in (
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b'{"a":NaN}', "not JSON"),
            (b'{"a":1}{}', "not JSON"),
            (b"[]", "not a JSON object"),
            (b"null", "not a JSON object"),
            (b'{"a":"\xff"}', "not UTF-8"),
            (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "nested too deep"),
            (b'{"a":' + b"[" * 40_000, "nested too deep"),
        ):
            answer = self.ask("POST", CALL, body)
            self.assertFailed(answer, 400, f"the body is {reason}")

    def test_texts(self) -> None:
        """Members that must be texts are texts, and not empty where they are needed."""
        for body, reason in (
            ({"target_mac": "b"}, "caller_mac must be a text that is not empty"),
            ({**MACS, "caller_mac": ""}, "caller_mac must be a text that is not empty"),
            ({**MACS, "target_mac": 5}, "target_mac must be a text that is not empty"),
            ({**MACS, "caller_nickname": ["x"]}, "caller_nickname must be a text"),
        ):
            self.assertFailed(self.ask("POST", CALL, body), 400, reason)
