"""Many connections: idle, slow, half open, reset, and fighting for one client id."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.hostile.attack import CROWD, PER_DEVICE, connack, credentials, devices
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import KEY, read_to_end, reset
from xzgw.net.device import CONNECT_TIME
from xzgw.tools.identity import Identity
from xzgw.wire import messages
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connack, Pingreq, Pingresp, Publish

IDLE = 2000
GROUP = 200  # of these, that come at once
STRANGERS = 300
MOST_A_SECOND = 20  # the setting, in PACE
RACERS = 50
RACE = 0x0700  # makes the MAC they race for
CONNECT = encode(credentials())
HELLO_BYTES = encode(Publish("device-server", messages.encode(HELLO)))
PING = encode(Pingreq())


@contextmanager
def strangers(target: Target, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have said nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(target.connect()) for _ in range(count)]


def idle(target: Target) -> None:
    """All are there at the same time, and each is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            crowd: list[RawDevice] = []
            for first in range(0, IDLE, GROUP):  # all at once would take a second of its time
                stack.callback(target.canary.beats, 1)
                crowd += stack.enter_context(devices(target, range(first, first + GROUP)))
                target.canary.beats(1)
            for each in crowd:
                each.send(Pingreq())
            for each in crowd:
                each.next(Pingresp)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def junk_from_one_address(target: Target) -> None:
    """Whatever it is, not MQTT."""
    for _ in range(STRANGERS):
        with target.connect() as connection:
            connection.sendall(b"SSH-2.0-x\r\n")
            read_to_end(connection)


def slow(target: Target) -> None:
    """CONNECT at a byte now and then, or nothing at all; until all are closed."""
    with strangers(target, 2 * STRANGERS) as crowd:
        started = time.monotonic()
        drips, silent = crowd[:STRANGERS], crowd[STRANGERS:]
        for byte in CONNECT[:20]:
            if time.monotonic() > started + CONNECT_TIME / 2:
                break  # on a busy machine; that is slow enough
            for each in drips:
                each.send(bytes((byte,)))
            target.canary.beats(1)
        for each in drips + silent:
            each.settimeout(CONNECT_TIME + 5)
            got = read_to_end(each)
            assert got == b"", got
        took = time.monotonic() - started
        assert took > CONNECT_TIME - 2, f"closed after {took:.1f} s"


def half_closed(target: Target) -> None:
    """They say that they will say no more, before and after CONNECT."""
    with strangers(target, CROWD) as crowd:
        for each in crowd[::2]:
            each.sendall(CONNECT[:20])
        for each in crowd:
            each.shutdown(socket.SHUT_WR)
        for each in crowd:
            assert read_to_end(each) == b""
    with devices(target, range(CROWD)) as let_in:
        for device in let_in:
            device.socket.shutdown(socket.SHUT_WR)
        for device in let_in:
            read_to_end(device.socket)


def resets(target: Target) -> None:
    """RST at every stage: at once, within CONNECT, after it, with a session being opened."""
    with strangers(target, STRANGERS) as crowd:
        for number, each in enumerate(crowd):
            connect = encode(credentials(number % 100))
            stages = b"", connect[:30], connect, connect + HELLO_BYTES, connect + HELLO_BYTES[:9]
            each.sendall(stages[number % len(stages)])
            reset(each)
    with devices(target, range(CROWD)) as let_in:
        for device in let_in:
            device.say(HELLO)
        for device in let_in:
            device.told("hello")
            reset(device.socket)


def take_over(target: Target) -> None:
    """One client id, many at once; one of them is left."""
    connect = encode(Identity(mac="02:00:00:00:07:00").credentials(KEY))
    with strangers(target, RACERS) as crowd:
        for each in crowd:
            each.sendall(connect)
        for each in crowd:
            assert each.recv(4) == connack(0)
        left = sum(map(answers, crowd))
        assert left == 1, f"{left} are left"


def answers(connection: socket.socket) -> bool:
    """Whether a PINGREQ is answered; the gateway's own questions may come before."""
    received = b""
    try:
        connection.sendall(PING)
        while not received.endswith(encode(Pingresp())):
            data = connection.recv(65536)
            if not data:
                return False
            received += data
    except ConnectionError:
        return False
    return True


def take_over_while_dialing(target: Target) -> None:
    """Each connection says hello and is taken over by the next; the last one has a session."""
    with ExitStack() as stack:
        crowd = []
        for _ in range(RACERS):
            crowd.append(RawDevice(target.address, RACE))
            stack.callback(crowd[-1].socket.close)
            connect = encode(crowd[-1].identity.credentials(KEY))
            crowd[-1].socket.sendall(connect + HELLO_BYTES)
        survivors = 0
        for each in crowd:
            try:
                code = each.next(Connack).return_code
                assert code == 0, f"CONNACK {code}"
                each.told("hello")
                each.send(Pingreq())
                each.next(Pingresp)
                survivors += 1
            except (EOFError, ConnectionError):
                continue
        assert survivors == 1, f"{survivors} have a session"


def storm(target: Target) -> None:
    """Far more connections a second than max_connects_per_second."""
    started = time.monotonic()
    with ExitStack() as stack:
        got = [one_of_storm(stack, target, number) for number in range(STRANGERS)]
        answers = [each() for each in got]
    took = time.monotonic() - started
    assert set(answers) <= {b"", connack(0), connack(3)}, set(answers)
    let_in = answers.count(connack(0))
    assert 0 < let_in <= MOST_A_SECOND * (took + 1), f"{let_in} were let in, in {took:.1f} s"


def one_of_storm(stack: ExitStack, target: Target, number: int) -> Callable[[], bytes]:
    """Connect and log in; returns what takes the answer, b"" for a reset."""
    try:
        connection = stack.enter_context(target.connect())
        connection.sendall(encode(credentials(number % 100)))
    except ConnectionError:
        return lambda: b""

    def answer() -> bytes:
        try:
            return connection.recv(4)
        except ConnectionError:
            return b""

    return answer


CASES = (
    Case(
        f"connections: {IDLE:,} idle devices",
        "each is held and answered",
        idle,
        lines=IDLE * PER_DEVICE,
    ),
    Case(
        "connections: junk from one address",
        "closed; the log has ten lines a minute, then a sum",
        junk_from_one_address,
        lines=4,
    ),
    Case(
        "connections: half closed",
        "closed",
        half_closed,
        lines=CROWD * PER_DEVICE,
    ),
    Case(
        "connections: reset at every stage",
        "nothing is left over",
        resets,
        lines=STRANGERS * PER_DEVICE + CROWD * (PER_DEVICE + 4),
    ),
    Case(
        f"connections: {RACERS} at once with one client id",
        "each takes over from the one before; one is left",
        take_over,
        lines=RACERS * PER_DEVICE + 4,
    ),
    Case(
        "connections: taken over while a server is dialled",
        "the last one has a session, the others' dials are given up",
        take_over_while_dialing,
        lines=RACERS * (PER_DEVICE + 4),
    ),
    Case(
        "connections: slow or silent before CONNECT",
        f"closed after {CONNECT_TIME:g} s",
        slow,
        lines=4,
        rounds=1,
    ),
)

PACE = (
    Case(
        "connections: more a second than allowed",
        "CONNACK 3 or a reset for the rest; the log tells it every 10 s",
        storm,
        lines=PER_DEVICE * 40,
    ),
)
