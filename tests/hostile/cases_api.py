"""Attacks on the admin API's port: requests, right and wrong ones."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from tests.hostile.attack import CROWD, Attack
from tests.hostile.caller import DEVICES, LAST, OPEN, STATUS, TOKEN, ask, call, serves, statuses
from tests.hostile.harness import Case, Target
from tests.support import read_to_end, reset
from xzgw.admin.bodies import MAX_BODY
from xzgw.admin.site import MAX_READ
from xzgw.core.throttle import ALLOWED, DELAY

STRANGE = (b"", b"Authorization: Basic eDp5\r\n", b"Authorization: \xff\r\n", TOKEN * 2)
PIPELINED = 500  # requests
JSON = b"Content-Type: application/json\r\n"


def answered(status: int, *requests: bytes) -> Attack:
    """Each of these, on a connection of its own, gets this answer and is closed."""

    def attack(target: Target) -> None:
        for request in requests:
            got = ask(target, request)
            assert got == [status], f"{request[:100]!r}: {got}"
        serves(target)

    return attack


def closed(*requests: bytes) -> Attack:
    """These are closed, without an answer if they like."""

    def attack(target: Target) -> None:
        for request in requests:
            got = ask(target, request)
            assert got in ([], [400]), f"{request[:100]!r}: {got}"
        serves(target)

    return attack


def whole(path: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\n" + TOKEN + LAST + b"\r\n"


def no_token(target: Target) -> None:
    """Who has none cannot even tell which paths there are."""
    seen = set()
    for path in (b"/v1/devices", b"/v1/nowhere", b"/v1/events", b"/v1/drain", b"/api/commands/x"):
        for header in STRANGE:
            request = b"POST " + path + b" HTTP/1.1\r\n" + header + LAST + b"\r\n"
            with call(target) as connection:
                connection.sendall(request)
                seen.add(re.sub(rb"Date: .*", b"", read_to_end(connection)))
    assert {tuple(statuses(each)) for each in seen} == {(401,)}, seen
    assert len(seen) <= 2, seen  # /api has a form of its own


def guess(target: Target) -> None:
    """Many wrong tokens from one address; the right one is not held up."""
    request = b"GET /v1/devices HTTP/1.1\r\nAuthorization: Bearer " + b"0" * 64 + b"\r\n"
    started = time.monotonic()
    with ExitStack() as stack:
        guessers = [stack.enter_context(call(target)) for _ in range(3 * ALLOWED)]
        for each in guessers:
            each.sendall(request + LAST + b"\r\n")
        serves(target)
        for each in guessers:
            got = statuses(read_to_end(each))
            assert got == [401], got
    took = time.monotonic() - started
    assert took >= DELAY, f"{took:.2f} s"


def pipelined(target: Target) -> None:
    """Many requests at once: as many answers."""
    for request in (OPEN, DEVICES):
        got = ask(target, (request + b"\r\n") * PIPELINED + request + LAST + b"\r\n")
        assert got == [200] * (PIPELINED + 1), f"{len(got)} answers: {set(got)}"


def resets(*requests: bytes) -> Attack:
    """RST after this much of a request, or in the middle of the answer."""

    def attack(target: Target) -> None:
        for request in requests:
            for _ in range(CROWD // 2):
                with call(target) as connection:
                    connection.sendall(request)
                    reset(connection)
        serves(target)

    return attack


def chunked(*bodies: bytes) -> Iterable[bytes]:
    return (STATUS + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + each for each in bodies)


# Each ends with a line's end: the gateway waits for one.
MALFORMED: Sequence[bytes] = (
    *(
        b"GET /\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        bytes(99) + b"\r\n\r\n",
    ),
    *(b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"),
    b"\x16\x03\x01\x00\x0a\x01\x00\x00\x06\x03\x03abcd\r\n\r\n",  # TLS
    *(OPEN + each + b"\r\n\r\n" for each in (b"no colon", b": x", b" a: b", b"A : b", b"A\0: b")),
)
LENGTHS: Sequence[bytes] = (
    *(STATUS + b"Content-Length: " + n + b"\r\n\r\n{}" for n in (b"-1", b"+2", b"x", b"9" * 5000)),
    STATUS + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    STATUS + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    STATUS + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    *chunked(b"zz\r\n", b"-1\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx", b"5;" + b"x" * 20_000),
    *chunked(b"1" * 20_000, b"2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 20_000),
)
BODIES = (
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"clientIds":7}',
        b'{"clientIds":[7]}',
        b'{"deviceIds":{}}',
    ),
    *(b"[" * 30_000 + b"]" * 30_000, b'{"clientIds":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
    *(b"9" * 5000, b'{"clientIds":NaN}', b'{"clientIds":[1e999]}'),
)
PATHS = (
    *(b"/nowhere", b"/v1/devices/%", b"/v1/devices/%zz", b"/v1/devices/%00", b"/v1/devices/%ff"),
    *(
        b"/v1/devices/%2e%2e%2f",
        b"/v1/../etc/passwd",
        b"/%c0%af",
        b"//v1/devices",
        b"/v1/devices//",
    ),
)


def posted(body: bytes) -> bytes:
    """A body of the right length."""
    return STATUS + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body


CASES = (
    Case(
        "api: no token, or two, or another kind",
        "401, whatever the path within /api and /v1 is",
        no_token,
    ),
    Case(
        "api: guessing tokens from one address",
        f"401, after the {ALLOWED}th a second late; the right token is not held up",
        guess,
        lines=1,
        rounds=1,
    ),
    Case("api: malformed requests, HTTP/0.9, TLS", "400, closed", answered(400, *MALFORMED)),
    Case("api: lengths and chunks that lie", "400, closed", answered(400, *LENGTHS)),
    Case("api: bodies that are not what is asked for", "400", answered(400, *map(posted, BODIES))),
    Case(
        "api: huge heads",
        "closed at 16 KiB a line or 500 headers",
        closed(
            b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
            b"GET /" + b"x" * 5_000_000,
            OPEN + b"A: " + b"x" * 20_000 + b"\r\n\r\n",
            OPEN + b"A: b\r\n" * 600 + b"\r\n",
            OPEN + b"A: b\r\n" * 100_000,
        ),
    ),
    Case(
        "api: huge bodies",
        f"413; above {MAX_READ >> 20} MiB not read",
        answered(
            413,
            posted(b"x" * (MAX_BODY + 1)),
            posted(b"x" * MAX_READ),
            STATUS + JSON + b"Content-Length: 99999999999\r\n\r\n{}",
            *chunked(
                b"10001\r\n" + bytes(65537) + b"\r\n0\r\n\r\n",
                b"1\r\nx\r\n" * 66_000 + b"0\r\n\r\n",
            ),
        ),
    ),
    Case(
        "api: wrong methods",
        "405",
        answered(
            405,
            *(whole(b"/v1/devices", each) for each in (b"DELETE", b"TRACE", b"BREW", b"x" * 500)),
        ),
    ),
    Case("api: odd paths and percent-encoding", "404", answered(404, *map(whole, PATHS))),
    Case(
        "api: absolute URIs",
        "as if the host were not there",
        answered(
            200,
            *map(
                whole,
                (b"http://other/v1/devices", b"HTTPS://u@h:1/v1/devices", b"http:///v1/devices"),
            ),
        ),
    ),
    Case("api: pipelined requests", f"{PIPELINED} answers, in order", pipelined),
    Case(
        "api: RST in the middle",
        "nothing is left over",
        resets(
            OPEN[:9],
            OPEN,
            DEVICES + b"\r\n",
            STATUS + b"Content-Length: 9\r\n\r\n{",
            b"GET /v1/events HTTP/1.1\r\n" + TOKEN + b"\r\n",
            (DEVICES + b"\r\n") * 100,
        ),
    ),
)
