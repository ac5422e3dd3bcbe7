"""Credentials: the shared vectors, and what must never get through."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.wire.credentials import (
    ClientId,
    CredentialError,
    daily_token,
    device_password,
    parse_client_id,
    parse_username,
    server_token,
    verify_password,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "vectors.json").read_text("utf-8")
)
KEY: str = VECTORS["key"]
MAC = "a0_85_e3_f4_49_34"


class VectorTests(SynchronousTestCase):
    """What the existing servers and devices compute, we compute."""

    def test_client_ids(self) -> None:
        """Every id splits into its group, MAC and uuid."""
        for entry in VECTORS["credentials"]:
            expected = ClientId(entry["group"], entry["mac"], entry["uuid"], signed=True)
            self.assertEqual(parse_client_id(entry["client_id"]), expected)

    def test_usernames(self) -> None:
        """Every username holds its JSON object."""
        for entry in VECTORS["credentials"]:
            self.assertEqual(parse_username(entry["username"]), entry["user_data"])

    def test_passwords(self) -> None:
        """Every password is the one we make, and is accepted."""
        for entry in VECTORS["credentials"]:
            about = KEY, entry["client_id"], entry["username"]
            self.assertEqual(device_password(*about), entry["password"])
            self.assertTrue(verify_password(*about, entry["password"].encode()))

    def test_daily_tokens(self) -> None:
        """Every daily token is the one we make."""
        for entry in VECTORS["api_tokens"]:
            self.assertEqual(daily_token(KEY, date.fromisoformat(entry["date"])), entry["token"])

    def test_server_tokens(self) -> None:
        """Every server token is the one we make."""
        for entry in VECTORS["server_tokens"]:
            token = server_token(
                entry["secret"], entry["uuid"], entry["mac"], entry["unix_seconds"]
            )
            self.assertEqual(token, entry["token"])


class ClientIdTests(SynchronousTestCase):
    """The client id names the device towards everybody else."""

    def assertRefused(self, text: str, reason: str) -> None:
        error = self.assertRaises(CredentialError, parse_client_id, text)
        self.assertIn(reason, str(error))

    def test_unsigned(self) -> None:
        """The two-part form is told apart; its MAC part stands in for the uuid."""
        self.assertEqual(
            parse_client_id(f"g@@@{MAC}"),
            ClientId("g", "a0:85:e3:f4:49:34", MAC, signed=False),
        )

    def test_topic(self) -> None:
        """The device's own topic has the MAC as it was sent, case included."""
        client_id = parse_client_id("g@@@AA_bb_CC_00_0F_ff@@@u")
        self.assertEqual(client_id.topic, "devices/p2p/AA_bb_CC_00_0F_ff")

    def test_frozen(self) -> None:
        """An identity does not change."""
        client_id = parse_client_id(f"g@@@{MAC}@@@u")
        with self.assertRaises(dataclasses.FrozenInstanceError):
            client_id.mac = "00:00:00:00:00:00"  # type: ignore[misc]

    def test_parts(self) -> None:
        """Two or three parts, no other number."""
        for text in ("", "g", f"g@@{MAC}", f"g@@@{MAC}@@@u@@@x", "mosq-abc"):
            self.assertRefused(text, "client id is not")

    def test_mac(self) -> None:
        """Six pairs of hex digits joined by underscores, nothing looser."""
        for mac in (
            "",
            "a0:85:e3:f4:49:34",
            "a0-85-e3-f4-49-34",
            "a085e3f44934",
            "a0_85_e3_f4_49",
            "a0_85_e3_f4_49_34_00",
            "a0_85_e3_f4_49_3",
            "a0_85_e3_f4_49_3g",
            "a0_85_e3_f4_49_٣٤",
            "a0_85_e3_f4_49_34\n",
            " a0_85_e3_f4_49_34",
            "../_85_e3_f4_49_34",
            "+/_#_e3_f4_49_34",
        ):
            self.assertRefused(f"g@@@{mac}@@@u", "MAC")

    def test_group_and_uuid(self) -> None:
        """Only visible ASCII, so that no header or log line can be forged; and not endless."""
        bad = ("", "a b", "u\r\nx: y", "u\n", "u\x00", "u\x7f", "u\x85", "é", "小", "x" * 129)
        for part in bad:
            self.assertRefused(f"{part}@@@{MAC}@@@u", "group")
            self.assertRefused(f"g@@@{MAC}@@@{part}", "uuid")

    def test_longest(self) -> None:
        """128 characters are accepted."""
        part = "~" * 128
        client_id = parse_client_id(f"{part}@@@{MAC}@@@{part}")
        self.assertEqual((client_id.group, client_id.uuid), (part, part))

    @settings(derandomize=True, deadline=None)
    @given(st.text(alphabet=st.characters(max_codepoint=0xFF)))
    def test_any_uuid(self, uuid: str) -> None:
        """Whatever is accepted is fit for an HTTP header."""
        try:
            client_id = parse_client_id(f"g@@@{MAC}@@@{uuid}")
        except CredentialError:
            return
        self.assertTrue(client_id.uuid.isascii() and client_id.uuid.isprintable())
        self.assertNotIn(" ", client_id.uuid)


class UsernameTests(SynchronousTestCase):
    """The username is base64 of one JSON object."""

    def test_padding(self) -> None:
        """Missing padding is forgiven, whatever its length."""
        for ip in ("1", "12", "123"):
            text = base64.b64encode(json.dumps({"ip": ip}).encode()).decode()
            self.assertEqual(parse_username(text.rstrip("=")), {"ip": ip})

    def test_not_base64(self) -> None:
        """Other characters, and lengths that base64 cannot have, are refused as such."""
        for text in ("{}", "e30 =", "e3!0", "\n", "é", "小智", "\ud800", "e30=e30=", "e"):
            error = self.assertRaises(CredentialError, parse_username, text)
            self.assertEqual(str(error), "username is not base64")

    def test_not_an_object(self) -> None:
        """Base64 of anything but a JSON object is refused with the reason."""
        for content, reason in (
            (b"", "not JSON"),
            (b"hello", "not JSON"),
            (b"[]", "not a JSON object"),
            (b"\xff", "not UTF-8"),
            (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deep"),
        ):
            text = base64.b64encode(content).decode()
            error = self.assertRaises(CredentialError, parse_username, text)
            self.assertEqual(str(error), f"username is {reason} inside its base64")


class PasswordTests(SynchronousTestCase):
    """One password fits."""

    about = (KEY, f"g@@@{MAC}@@@u", "e30=")
    right = device_password(*about).encode()

    def test_wrong(self) -> None:
        """Anything else is refused, odd bytes included, without an exception."""
        wrong = [
            b"",
            b"\xff\xfe\x00",
            "小智".encode(),
            self.right[:-1],
            self.right + b"=",
            self.right + b"\n",
            self.right.lower(),
        ]
        for password in wrong:
            self.assertFalse(verify_password(*self.about, password), password)

    def test_every_part_counts(self) -> None:
        """A password is for one key, one client id and one username."""
        key, client_id, username = self.about
        for about in (
            (key + "x", client_id, username),
            (key, client_id + "x", username),
            (key, client_id, "e30"),
        ):
            self.assertFalse(verify_password(*about, self.right), about)


class TokenTests(SynchronousTestCase):
    """Tokens for the admin API and for chat servers."""

    def test_datetime(self) -> None:
        """A datetime counts as its day."""
        noon = datetime(2025, 9, 15, 12, 30)
        self.assertEqual(daily_token(KEY, noon), daily_token(KEY, date(2025, 9, 15)))

    def test_case(self) -> None:
        """The MAC's case matters to the server, so it is signed as it is."""
        lower = server_token("s", "u", "aa:bb:cc:00:0f:ff", 1)
        self.assertNotEqual(lower, server_token("s", "u", "AA:BB:CC:00:0F:FF", 1))
