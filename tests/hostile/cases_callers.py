"""Attacks on the admin API's port: connections that are slow, deaf, or too many."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

from tests.hostile.attack import CROWD, PER_DEVICE, SESSION, devices
from tests.hostile.caller import LAST, OPEN, STATUS, TOKEN, ask, call, serves, statuses
from tests.hostile.cases_api import JSON
from tests.hostile.harness import Case, Target
from tests.stream_device import HELLO
from tests.support import PATIENCE, read_to_end, reset
from xzgw.admin.event_stream import MOST_WAITING
from xzgw.admin.site import REQUEST_TIME
from xzgw.settings.limits import MAX_API_CONNECTIONS

PLACES = MAX_API_CONNECTIONS.default
ANSWERS = 20 * 1024  # KiB, some three hundred of them
READERS = 3
FLEETING = 20
TALKERS = 5  # devices, each of which opens one session after the other
FLOODS = 900  # of these; by then a reader that takes nothing must be gone


def unread(target: Target) -> None:
    """Requests without end, by somebody who does not read the answers."""
    requests = b"GET /openapi.json HTTP/1.1\r\n\r\n" * 1000
    before = target.gateway.memory()
    with ExitStack() as stack:
        for _ in range(READERS):
            connection = stack.enter_context(call(target, 4096))
            connection.settimeout(0.1)
            sent = 0
            try:
                while sent < 50 << 20:
                    sent += connection.send(requests)
                raise AssertionError("50 MiB of requests, and the gateway still reads")
            except TimeoutError:
                more = target.gateway.memory() - before
                assert more < ANSWERS, f"{more} KiB more"
                reset(connection)
        serves(target)


def slow(target: Target) -> None:
    """A hundred heads and bodies a byte at a time; nobody waits for them."""
    body = STATUS + JSON + b"Content-Length: 100\r\n\r\n"
    with ExitStack() as stack:
        crowd = [stack.enter_context(call(target)) for _ in range(100)]
        for each in crowd[::2]:
            each.sendall(body)
        for byte in OPEN:
            for each in crowd:
                each.send(bytes((byte,)))
            target.canary.beats(1)
            serves(target)


def idle(target: Target) -> None:
    """All places taken; who comes then is told so, and served when there is room again."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(call(target)) for _ in range(PLACES)]
        for _ in range(CROWD):
            with call(target) as connection:
                connection.sendall(OPEN + b"\r\n")
                got = statuses(connection.recv(65536))
                assert got == [503], got
        crowd[0].sendall(OPEN + LAST + b"\r\n")
        assert statuses(read_to_end(crowd[0])) == [200]
    wait_for_room(target)


def wait_for_room(target: Target) -> None:
    deadline = time.monotonic() + PATIENCE
    while (got := ask(target, OPEN + LAST + b"\r\n")) != [200]:
        assert time.monotonic() < deadline, got


def read_events(target: Target) -> socket.socket:
    """A reader of events whose window is small."""
    reader = call(target, 4096)
    reader.sendall(b"GET /v1/events HTTP/1.1\r\n" + TOKEN + b"\r\n")
    return reader


def talk(target: Target, rounds: int) -> Iterator[None]:
    """Devices that open one session after the other, which makes events; yields in between."""
    with devices(target, range(TALKERS)) as crowd:
        for _ in range(rounds):
            for device in crowd:
                device.say(HELLO)
            for device in crowd:
                device.told("hello")
            yield


def fleeting_readers(target: Target) -> None:
    """Readers that go, with a RST or without, while there is something to read."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(read_events(target)) for _ in range(FLEETING)]
        for number, _ in enumerate(talk(target, FLEETING)):
            if number % 2:
                reset(crowd[number])
            crowd[number].close()
    serves(target)


def deaf_readers(target: Target) -> None:
    """Readers that read nothing, while there are many events."""
    ends = select.poll()
    with ExitStack() as stack:
        for _ in range(READERS):
            ends.register(stack.enter_context(read_events(target)), select.POLLHUP)
        gone: set[int] = set()
        for _ in talk(target, FLOODS):
            gone |= {number for number, _ in ends.poll(0)}
            if len(gone) == READERS:
                break
        assert len(gone) == READERS, f"{READERS - len(gone)} readers are still there"
    serves(target)


CASES = (
    Case(
        "api: answers that are not read",
        "no more requests are read until they are",
        unread,
    ),
    Case(
        "api: a hundred requests at a byte now and then",
        f"nobody waits for them; {REQUEST_TIME} s each",
        slow,
        rounds=1,
    ),
    Case(
        f"api: more than {PLACES} idle connections",
        "503 with Retry-After for the rest, until there is room again",
        idle,
        lines=1,
    ),
    Case(
        "api: readers of events that go away",
        "nothing is left over",
        fleeting_readers,
        lines=TALKERS * (SESSION * FLEETING + PER_DEVICE),
    ),
    Case(
        "api: readers of events that do not read",
        f"reset when {MOST_WAITING >> 10} KiB wait for them",
        deaf_readers,
        lines=READERS + TALKERS * (SESSION * FLOODS + PER_DEVICE),
        rounds=1,
    ),
)
