"""CONNECT with wrong credentials, identities and flags."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

from tests.hostile.attack import (
    CROWD,
    PER_DEVICE,
    SILENT,
    connack,
    connect_bytes,
    credentials,
    devices,
    one_by_one,
    refused,
)
from tests.hostile.harness import Case, Target
from tests.support import KEY, read_to_end, reset
from xzgw.core.throttle import ALLOWED, DELAY
from xzgw.wire.credentials import device_password
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connect, Will

FEW = 10
GOOD = credentials()
WRONG = replace(GOOD, password=b"gue55")
BAD_LEVEL, BAD_ID, BAD_CREDENTIALS, NOT_AUTHORIZED = map(connack, (1, 2, 4, 5))
USER, CLEAN, PASSWORD = 0x80, 0x02, 0x40  # CONNECT's flags
ME = GOOD.client_id.encode()


def signed(client_id: str, username: str) -> Connect:
    """What only somebody with the key can make."""
    password = device_password(KEY, client_id, username).encode()
    return replace(GOOD, client_id=client_id, username=username, password=password)


def unsigned(client_id: str) -> bytes:
    """Whatever id, with the password of another one."""
    return encode(replace(GOOD, client_id=client_id))


def impostor(target: Target) -> None:
    """The canary's client id, with the credentials of another device."""
    connect = replace(GOOD, client_id=target.canary.client_id)
    refused(connect, BAD_CREDENTIALS)(target)
    refused(replace(connect, username=None, password=None), BAD_CREDENTIALS, FEW)(target)


def guess(target: Target) -> None:
    """Many passwords from one address."""
    started = time.monotonic()
    with ExitStack() as stack:
        guessers = [stack.enter_context(target.connect()) for _ in range(CROWD)]
        for each in guessers:
            each.sendall(encode(WRONG))
        for each in guessers:
            got = read_to_end(each)
            assert got == BAD_CREDENTIALS, got
    assert CROWD > ALLOWED
    took = time.monotonic() - started
    assert took >= DELAY, f"{CROWD} guesses in {took:.2f} s"


def last_will(target: Target) -> None:
    """A will that would speak to the canary, by devices that vanish."""
    topic = "devices/p2p/" + target.canary.mac.replace(":", "_")
    will = Will(topic, b'{"type":"goodbye"}', 2, True)
    with ExitStack() as stack:
        for number in range(FEW):
            connection = stack.enter_context(target.connect())
            connection.sendall(encode(replace(credentials(number), will=will)))
            assert connection.recv(4) == connack(0)
            reset(connection)
    with devices(target, range(FEW)):
        pass


CREDENTIALS = (
    Case(
        "credentials: wrong password",
        "CONNACK 4, closed",
        one_by_one(
            refused(WRONG, BAD_CREDENTIALS),
            refused(replace(GOOD, username=None, password=None), BAD_CREDENTIALS, FEW),
            refused(replace(GOOD, password=b"\xff" * 10_000), BAD_CREDENTIALS, FEW),
        ),
        lines=CROWD + 2 * FEW,
    ),
    Case(
        "credentials: guessing from one address",
        f"CONNACK 4, after the {ALLOWED}th a second late; the log tells it once",
        guess,
        lines=ALLOWED,
    ),
    Case("credentials: another's client id", "CONNACK 4", impostor, lines=CROWD + FEW),
    Case(
        "credentials: signed, but not a user name",
        "CONNACK 4",
        one_by_one(
            *(
                refused(signed(GOOD.client_id, name), BAD_CREDENTIALS, FEW)
                for name in ("", "%%%", "bnVsbA==", "W10=", "/////w==")
            )
        ),
        lines=5 * FEW,
    ),
    Case(
        "credentials: malformed client ids",
        "CONNACK 2; 5 for the old form without a signature",
        one_by_one(
            *(
                refused(unsigned(text), BAD_ID, FEW)
                for text in (
                    "device",
                    "a@@@b@@@c@@@d",
                    "@@@02_00_00_00_00_01@@@u",
                    "g@@@02_00_00_00_00@@@u",
                    "g@@@02_00_00_00_00_zz@@@u",
                    "g@@@02_00_00_00_00_01@@@u\r\nX-Forwarded-For: ::1",
                    "g@@@02_00_00_00_00_01@@@\u4f60",
                )
            ),
            refused(unsigned("g@@@02_00_00_00_00_01"), NOT_AUTHORIZED, FEW),
        ),
        lines=8 * FEW,
    ),
    Case(
        "credentials: over-long ids",
        "CONNACK 2, one short line in the log; above 16 KiB closed without a word",
        one_by_one(
            refused(unsigned("g@@@02_00_00_00_00_01@@@" + "u" * 16_000), BAD_ID, FEW),
            refused(unsigned("g" * 129 + "@@@02_00_00_00_00_01@@@u"), BAD_ID, FEW),
            refused(unsigned("u" * 17_000), SILENT, FEW),
        ),
        lines=3 * FEW,
    ),
    Case(
        "credentials: NUL and bad UTF-8",
        "closed",
        one_by_one(
            *(
                refused(connect_bytes(CLEAN | USER | PASSWORD, *fields), SILENT, FEW)
                for fields in (
                    (b"a\0b", b"user", b"password"),
                    (b"\xff\xfe", b"user", b"password"),
                    (b"\xed\xa0\x80", b"user", b"password"),
                    (ME, b"\xc0\x80", b"password"),
                    (ME, b"us\0er", b"password"),
                )
            )
        ),
        lines=5 * FEW,
    ),
    Case(
        "credentials: empty client id",
        "CONNACK 2",
        one_by_one(
            refused(connect_bytes(CLEAN, b""), BAD_ID, FEW),
            refused(connect_bytes(0, b""), BAD_ID, FEW),
            refused(connect_bytes(CLEAN, b"", name=b"MQIsdp", level=3), BAD_ID, FEW),
        ),
        lines=3 * FEW,
    ),
)

FLAGS = (
    Case("flags: the reserved one", "closed", refused(connect_bytes(CLEAN | 1, ME)), lines=CROWD),
    Case(
        "flags: of a will",
        "closed",
        one_by_one(
            refused(connect_bytes(CLEAN | 0x08, ME), count=FEW),  # a QoS without a will
            refused(connect_bytes(CLEAN | 0x20, ME), count=FEW),  # retained without a will
            refused(connect_bytes(CLEAN | 0x1C, ME, b"topic", b"words"), count=FEW),  # QoS 3
            refused(connect_bytes(CLEAN | 0x04, ME), count=FEW),  # no such fields
            refused(connect_bytes(CLEAN | 0x04, ME, b"a/#", b"words"), count=FEW),
        ),
        lines=5 * FEW,
    ),
    Case(
        "flags: a will for another device",
        "accepted and forgotten: we are not a broker",
        last_will,
        lines=2 * FEW * PER_DEVICE,
    ),
    Case(
        "flags: of user name and password",
        "closed",
        one_by_one(
            refused(connect_bytes(CLEAN | PASSWORD, ME, b"password"), count=FEW),
            refused(connect_bytes(CLEAN | USER, ME), count=FEW),
            refused(connect_bytes(CLEAN | USER | PASSWORD, ME, b"user"), count=FEW),
            refused(connect_bytes(CLEAN, ME, b"user", b"password"), count=FEW),
        ),
        lines=4 * FEW,
    ),
    Case(
        "flags: protocol name and level",
        "CONNACK 1 for another level; closed for another name",
        one_by_one(
            refused(connect_bytes(CLEAN, ME, level=5), BAD_LEVEL, FEW),
            refused(connect_bytes(CLEAN, ME, level=3), BAD_LEVEL, FEW),
            refused(connect_bytes(CLEAN, ME, name=b"MQIsdp", level=4), BAD_LEVEL, FEW),
            refused(connect_bytes(CLEAN, ME, name=b"mqtt"), count=FEW),
            refused(connect_bytes(CLEAN, ME, name=b""), count=FEW),
        ),
        lines=5 * FEW,
    ),
)

CASES = CREDENTIALS + FLAGS
