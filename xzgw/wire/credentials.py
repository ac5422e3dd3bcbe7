"""Who a device is, and the passwords and tokens made from shared keys.

The OTA endpoint hands a device its client id, username and password; we hold the same signature
key and can check them without asking anybody. Source of the rules: docs/protocol.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import date

from xzgw.wire import messages

_SEPARATOR = "@@@"
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:_[0-9A-Fa-f]{2}){5}")
# Group and uuid end up in HTTP headers and logs: visible ASCII cannot forge a line of either.
_VISIBLE = re.compile(r"[!-~]{1,128}")


class CredentialError(Exception):
    """A client id or username that breaks the rules; str() says how, and holds no secret."""


@dataclass(frozen=True, slots=True)
class ClientId:
    """A device's identity, from its MQTT client id.

    mac is in colon form, its letters in the case that was sent. uuid of an unsigned (two-part) id
    is the MAC part as it was sent, which is also what OTA endpoints use for want of a uuid.
    """

    group: str
    mac: str
    uuid: str
    signed: bool

    @property
    def topic(self) -> str:
        """The MQTT topic that belongs to this device alone."""
        return "devices/p2p/" + self.mac.replace(":", "_")


def parse_client_id(text: str) -> ClientId:
    """Read `group@@@mac@@@uuid`, or the old form `group@@@mac`, which carries no signature.

    Raises:
        CredentialError: anything else.
    """
    group, *rest = text.split(_SEPARATOR)
    if len(rest) not in (1, 2):
        raise CredentialError("client id is not <group>@@@<mac>@@@<uuid>")
    mac, uuid = rest[0], rest[-1]
    if not _VISIBLE.fullmatch(group):
        raise CredentialError("group in client id is not 1 to 128 visible ASCII characters")
    if not _MAC.fullmatch(mac):
        raise CredentialError("MAC in client id is not six hex pairs joined by _")
    if not _VISIBLE.fullmatch(uuid):
        raise CredentialError("uuid in client id is not 1 to 128 visible ASCII characters")
    return ClientId(group, mac.replace("_", ":"), uuid, signed=len(rest) == 2)


def parse_username(text: str) -> messages.Json:
    """Read the base64 JSON object that a username is; missing padding is forgiven.

    Raises:
        CredentialError: not base64, or not a JSON object inside.
    """
    digits = text.rstrip("=")
    try:
        return messages.parse(base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except ValueError:
        raise CredentialError("username is not base64") from None
    except messages.MessageError as error:
        raise CredentialError(f"username is {error} inside its base64") from None


def device_password(key: str, client_id: str, username: str) -> str:
    """The password that belongs to a client id and username: base64 of HMAC-SHA256.

    Args:
        key: the signature key shared with the OTA endpoint.
        client_id, username: exactly as CONNECT has them.
    """
    return base64.b64encode(_hmac(key, f"{client_id}|{username}")).decode("ascii")


def verify_password(key: str, client_id: str, username: str, password: bytes) -> bool:
    """Whether CONNECT's password is the right one, in time that tells nothing about it."""
    expected = device_password(key, client_id, username)
    return hmac.compare_digest(expected.encode("ascii"), password)


def daily_token(key: str, day: date) -> str:
    """The admin API's bearer token for one day: 64 lower-case hex digits."""
    return hashlib.sha256(f"{day:%Y-%m-%d}{key}".encode()).hexdigest()


def server_token(secret: str, uuid: str, mac: str, unix_seconds: int) -> str:
    """The bearer token we show a chat server.

    Args:
        secret: the key shared with the chat servers.
        uuid, mac: exactly as in the headers client-id and device-id.
        unix_seconds: now; servers refuse a token that is too old.
    """
    digest = _hmac(secret, f"{uuid}|{mac}|{unix_seconds}")
    signature = base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
    return f"{signature}.{unix_seconds}"


def _hmac(key: str, text: str) -> bytes:
    return hmac.digest(key.encode(), text.encode(), "sha256")
