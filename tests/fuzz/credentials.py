"""Who somebody says to be: client ids, usernames, passwords, tokens."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from hypothesis import strategies as st

from tests.admin.support import KEY as API_KEY
from tests.admin.support import NOW, TOKEN
from tests.fakes import CREDENTIALS, FakeDeviceLink
from tests.fuzz.harness import JSON_VALUES, Harness, json_bytes, one_line, scripts, spoiled, steps
from tests.net.support import Bench
from xzgw.admin.auth import Tokens
from xzgw.core.gateway import Refused
from xzgw.wire.credentials import (
    CredentialError,
    device_password,
    parse_client_id,
    parse_username,
    verify_password,
)
from xzgw.wire.messages import encode, parse
from xzgw.wire.packets import Connect

KEY = "Te1st-K3y"
CLIENT: str = CREDENTIALS[0]["client_id"]
USER: str = CREDENTIALS[0]["username"]
PASSWORD: str = CREDENTIALS[0]["password"]


def show(data: bytes) -> None:
    """Each step is a text that somebody shows: what it is, its number says."""
    for what, text in steps(data):
        _SHOWN[what % len(_SHOWN)](text)


def _client_id(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        identity = parse_client_id(text)
    except CredentialError as error:
        assert one_line(str(error))
        assert len(str(error)) < 100
        return
    parts = [identity.group, identity.mac.replace(":", "_"), identity.uuid]
    assert "@@@".join(parts if identity.signed else parts[:2]) == text
    assert text.isascii()
    assert text.isprintable()
    assert not {"+", "#"} & set(identity.topic)
    assert len(text) <= 128 + 3 + 17 + 3 + 128


def _username(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        user = parse_username(text)
    except CredentialError as error:
        assert one_line(str(error))
        assert len(str(error)) < 100
        return
    assert parse(encode(user)) == user


def _password(data: bytes) -> None:
    assert verify_password(KEY, CLIENT, USER, data) is False
    text = data.decode("utf-8", "replace")
    right = device_password(KEY, CLIENT, text).encode()
    assert verify_password(KEY, CLIENT, text, right)
    assert not verify_password(KEY, CLIENT, text + "x", right)


def _token(data: bytes) -> None:
    tokens = Tokens(lambda: API_KEY, lambda: NOW, time.gmtime)
    # Two neighbouring days at most are good, and this moment is at noon.
    assert tokens.accept(data) == (data == TOKEN.encode())


def _connect(data: bytes) -> None:
    """Fields between newlines: client id, username, password; the last is made if it is `good`."""
    fields = (data + b"\n\n").split(b"\n")
    client_id, username = (field.decode("utf-8", "replace") for field in fields[:2])
    bench = Bench()
    key = bench.gateway.services.config.signature_key
    password = fields[2]
    if password == b"good":
        password = device_password(key, client_id, username).encode()
    connect = Connect(client_id, username, password, 60, True, 4, None)
    try:
        device = bench.gateway.admit(connect, FakeDeviceLink(), "192.0.2.9", "192.0.2.1")
    except Refused as error:
        assert error.return_code in (2, 4, 5)
        assert one_line(str(error))
        assert bench.gateway.refused(connect, "192.0.2.9", error) >= 0
        assert bench.gateway.devices == {}
        return
    assert password == device_password(key, client_id, username).encode()
    assert device.peer.identity.signed
    bench.gateway.leave(device, "over")


_SHOWN: tuple[Callable[[bytes], None], ...] = (_client_id, _username, _password, _token, _connect)

_ids = st.one_of(
    st.sampled_from([CLIENT, CLIENT.rpartition("@@@")[0], "g@@@" + "00_" * 5 + "0g@@@u"]),
    st.lists(
        st.sampled_from(["GID_test", "a0_85_e3_f4_49_34", "A0:85:E3:F4:49:34", "", "@", "x" * 129])
        | st.text(max_size=6),
        max_size=5,
    ).map("@@@".join),
).map(lambda text: text.encode("utf-8", "replace"))
_users = st.one_of(
    st.just(USER.encode()),
    JSON_VALUES.map(json_bytes).map(base64.b64encode),
    st.dictionaries(st.text(max_size=4), JSON_VALUES).map(json_bytes).map(base64.b64encode),
    st.binary(max_size=12).map(base64.b64encode),
)
_passwords = st.one_of(st.sampled_from([b"good", PASSWORD.encode()]), st.binary(max_size=44))
_connects = st.tuples(_ids, _users, _passwords).map(b"\n".join)
_tokens = st.sampled_from([TOKEN.encode(), TOKEN.upper().encode(), b""])
_steps = st.one_of(
    *(
        st.tuples(st.just(number), spoiled(texts) | texts)
        for number, texts in enumerate((_ids, _users, _passwords, _tokens, _connects))
    )
)

HARNESSES = (Harness("credentials", show, scripts(_steps, 6)),)
