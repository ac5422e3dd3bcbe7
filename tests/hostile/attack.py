"""What attackers on MQTT have in common."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from tests.hostile.harness import Target
from tests.raw_device import RawDevice
from tests.support import KEY, PATIENCE, read_to_end
from xzgw.tools.identity import Identity
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import Connack, Connect, Packet, Pingreq, Pingresp, Publish

CROWD = 50  # connections of a round, as a rule
PER_DEVICE = 3  # log lines of a device that comes and goes: connect, its tools, disconnect
SESSION = 3  # log lines of a session: its start, and its end in two ways
SILENT = b""  # closed without a word

Attack = Callable[[Target], None]

# Who guesses passwords is slowed down by address; so many that no address guesses too often, and
# not more, as the gateway keeps something of each.
_addresses = itertools.cycle(f"127.1.0.{number}" for number in range(1, 151))


def stranger(target: Target, data: bytes) -> socket.socket:
    """A connection from another address each time that has sent these bytes."""
    connection = socket.create_connection(target.address, PATIENCE, (next(_addresses), 0))
    connection.sendall(data)
    return connection


def connack(code: int) -> bytes:
    """What a CONNECT is answered with."""
    return encode(Connack(code))


def refused(first: bytes | Packet, answer: bytes = SILENT, count: int = CROWD) -> Attack:
    """Strangers whose first bytes are these get this answer and are closed."""
    data = first if isinstance(first, bytes) else encode(first)

    def attack(target: Target) -> None:
        with ExitStack() as stack:
            all_of_them = [stack.enter_context(stranger(target, data)) for _ in range(count)]
            for each in all_of_them:
                got = read_to_end(each)
                assert got == answer, f"{data[:50]!r}: got {got!r}, not {answer!r}"

    return attack


def cut_off(data: bytes | Packet, count: int = CROWD, answers: type[Packet] = Publish) -> Attack:
    """Devices with good credentials that send this are closed, and told only this before."""
    sent = data if isinstance(data, bytes) else encode(data)

    def attack(target: Target) -> None:
        with devices(target, range(count)) as crowd:
            for each in crowd:
                each.socket.sendall(sent)
            for each in crowd:
                told_only(read_to_end(each.socket), answers)

    return attack


def kept(data: bytes | Packet, answers: Iterable[Packet] = (), count: int = CROWD) -> Attack:
    """Devices that send this get these answers, and their next PINGREQ is answered."""
    sent, wanted = (data if isinstance(data, bytes) else encode(data)), list(answers)

    def attack(target: Target) -> None:
        with devices(target, range(count)) as crowd:
            for each in crowd:
                each.socket.sendall(sent + encode(Pingreq()))
            for each in crowd:
                for answer in wanted:
                    got = each.next(type(answer))
                    assert got == answer, f"got {got}, not {answer}"
                each.next(Pingresp)

    return attack


def one_by_one(*attacks: Attack) -> Attack:
    """All of them in each round."""

    def attack(target: Target) -> None:
        for each in attacks:
            each(target)

    return attack


def told_only(data: bytes, kind: type[Packet]) -> None:
    """Raises AssertionError if there is anything but this, or what the gateway asks by itself."""
    other = [p for p in Decoder(1 << 20).feed(data) if not isinstance(p, Publish | kind)]
    assert not other, f"told {other[:3]}"


@contextmanager
def devices(target: Target, numbers: Iterable[int]) -> Iterator[list[RawDevice]]:
    """Devices that are logged in; all are gone in the end."""
    with ExitStack() as stack:
        crowd = []
        for number in numbers:
            crowd.append(RawDevice(target.address, number))
            stack.callback(crowd[-1].socket.close)
            crowd[-1].send(crowd[-1].identity.credentials(KEY))
        for each in crowd:
            code = each.next(Connack).return_code
            assert code == 0, f"CONNACK {code}"
        yield crowd


def credentials(number: int = 1) -> Connect:
    """Good ones."""
    return Identity(mac=f"02:00:00:00:00:{number:02x}").credentials(KEY)


def connect_bytes(
    flags: int,
    *fields: bytes,
    name: bytes = b"MQTT",
    level: int = 4,
) -> bytes:
    """A CONNECT with any flags and fields, the lengths of fields and packet being right."""
    head = len(name).to_bytes(2, "big") + name + bytes((level, flags, 0, 60))
    body = head + b"".join(len(each).to_bytes(2, "big") + each for each in fields)
    return framed(0x10, body)


def framed(first: int, body: bytes) -> bytes:
    """A packet's first byte, the remaining length and its body."""
    rest, length = len(body), bytearray()
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((first, *length, rest)) + body
