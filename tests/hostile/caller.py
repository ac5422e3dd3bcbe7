"""What attackers on the admin API have in common."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

from tests.api_support import today, token
from tests.hostile.harness import Target
from tests.support import PATIENCE, read_to_end
from xzgw.core.throttle import DELAY

TODAYS = b"today's token"  # a Caller sends the token in its place
TOKEN = b"Authorization: Bearer " + TODAYS + b"\r\n"
LAST = b"Connection: close\r\n"
ATTEMPTS = 5
OPEN = b"GET /healthz HTTP/1.1\r\n"
DEVICES = b"GET /v1/devices HTTP/1.1\r\n" + TOKEN
STATUS = b"POST /api/devices/status HTTP/1.1\r\n" + TOKEN + LAST


class Caller(socket.socket):
    """A connection to the API. The token is that of the moment: midnight may come."""

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        super().sendall(data.replace(TODAYS, token(today()).encode()), flags)


def call(target: Target, receive_buffer: int = 0) -> Caller:
    """A connection to the API."""
    connection = Caller()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", target.gateway.api_port))
    return connection


def ask(target: Target, data: bytes) -> list[int]:
    """The statuses of all answers until the gateway closes."""
    with call(target) as connection:
        with suppress(ConnectionError):  # it has closed, perhaps with an answer
            connection.sendall(data)
        try:
            return statuses(read_to_end(connection))
        except TimeoutError:
            raise AssertionError(f"{data[:200]!r}: not closed") from None


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def serves(target: Target) -> None:
    """Who has the token is served, at once; on a busy machine not each time, but now and then."""
    fastest = DELAY
    for _ in range(ATTEMPTS):
        started = time.monotonic()
        got = ask(target, DEVICES + LAST + b"\r\n")
        assert got == [200], got
        fastest = min(fastest, time.monotonic() - started)
        if fastest < DELAY:
            return
    raise AssertionError(f"{ATTEMPTS} times {DELAY:g} s or more")
