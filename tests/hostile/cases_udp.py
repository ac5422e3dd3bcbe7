"""Datagrams that are not audio of the device's.

The canary's connection id, and with it all that is in the clear, is known to whoever sees its
packets; its key is not. Where the key is used here it is to make the very bytes that the canary
has sent itself, which is what a replay is.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.hostile.attack import PER_DEVICE, SESSION, Attack, devices
from tests.hostile.canary import Canary
from tests.hostile.canary_server import packet
from tests.hostile.harness import Case, Target, eventually
from tests.raw_device import RawVoice
from tests.stream_device import HELLO
from tests.support import SPEECH
from xzgw.wire.audio import Cipher

ROUND = 1000  # datagrams
JUNK = 17_000  # the same; three rounds are the 50,000
BURST = 50  # datagrams sent at once
QUEUE = 64 * 1024  # bytes waiting in the kernel for the gateway above which the attacker pauses
SOURCES = 8  # sockets, each with an address of its own
PLAYED_BACK = 30
AHEAD = 100_000  # sequences, far above what may be missing
_HEADER = struct.Struct(">BBHIII")  # kind, flags, length, connection id, timestamp, sequence


def ssrc_of(canary: Canary) -> int:
    return int(canary.udp["nonce"][8:16], 16)


def forged(
    ssrc: int, sequence: int, payload: bytes = SPEECH[0], *, kind: int = 1, length: int = -1
) -> bytes:
    """A datagram with any header; the payload is what an attacker without the key can send."""
    size = len(payload) if length < 0 else length
    return _HEADER.pack(kind, 0, size, ssrc, 60 * sequence & 0xFFFFFFFF, sequence) + payload


def said(canary: Canary, number: int) -> bytes:
    """The datagram that the canary itself has sent, or will send, as number so and so."""
    cipher = Cipher(bytes.fromhex(canary.udp["key"]), ssrc_of(canary))
    return cipher.seal(number, 60 * number, packet(number))


def waiting(port: int) -> int:
    """Bytes that the kernel holds for the UDP socket at a port of 127.0.0.1."""
    for line in Path("/proc/net/udp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return int(fields[4].partition(":")[2], 16)
    return 0


@contextmanager
def sources() -> Iterator[list[socket.socket]]:
    """Sockets at different addresses of this machine."""
    with ExitStack() as stack:
        found = []
        for number in range(SOURCES):
            found.append(stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)))
            found[-1].bind((f"127.0.1.{number + 1}", 0))
        yield found


def pour(target: Target, datagrams: Iterable[bytes]) -> None:
    """Send from all sources in turn, no faster than the gateway reads.

    What overflows the kernel's buffer never gets to the gateway, and takes the canary's with it:
    nothing that the gateway could help.
    """
    address = target.udp
    with sources() as attackers:
        for number, datagram in enumerate(datagrams):
            attackers[number % SOURCES].sendto(datagram, address)
            if number % BURST == 0:
                assert eventually(lambda: waiting(address[1]) < QUEUE), "the gateway reads no more"
        assert eventually(lambda: waiting(address[1]) == 0), "the gateway reads no more"


def spoof(target: Target, datagrams: Iterable[bytes]) -> None:
    """Send from the canary's own address."""
    for number, datagram in enumerate(datagrams):
        target.canary.spoof(datagram)
        if number % BURST == 0:
            assert eventually(lambda: waiting(target.udp[1]) < QUEUE), "the gateway reads no more"


def from_anywhere(*datagrams: bytes) -> Attack:
    """The same from others' addresses, many times."""
    return lambda target: pour(target, datagrams * (ROUND // len(datagrams)))


def short(target: Target) -> None:
    """0 to 15 bytes of a good datagram, and its header alone."""
    whole = said(target.canary, target.canary.spoken + 1)
    parts = [whole[:size] for size in range(17)]
    pour(target, parts * (ROUND // len(parts)))
    spoof(target, parts * 5)


def lying(target: Target) -> None:
    """Lengths that are not the payload's, and another type."""
    ssrc, sequence = ssrc_of(target.canary), target.canary.spoken + 1
    lies = [forged(ssrc, sequence, length=n) for n in (0, len(SPEECH[0]) - 1, len(SPEECH[0]) + 1)]
    lies += [forged(ssrc, sequence, length=65535), forged(ssrc, sequence, kind=2)]
    pour(target, lies * (ROUND // len(lies)))
    spoof(target, lies * 20)


def unknown(target: Target) -> None:
    """Connection ids that are nobody's."""
    randomly = random.Random(5)
    mine = ssrc_of(target.canary)
    ids = [0, 0xFFFFFFFF, mine ^ 1, *(randomly.getrandbits(32) for _ in range(ROUND))]
    pour(target, (forged(each, 1) for each in ids if each != mine))


def replayed(target: Target) -> None:
    """All that the canary has said, from others' addresses and from its own."""
    canary = target.canary
    heard = [said(canary, number) for number in range(1, canary.spoken - 1)]
    old = (heard * (ROUND // len(heard) + 1))[:ROUND]
    pour(target, old)
    spoof(target, old[:200])


def raced(target: Target) -> None:
    """Each datagram that it says, at once again from elsewhere, to draw its audio away."""
    for _ in range(5):
        number = target.canary.spoken
        pour(target, [said(target.canary, number)] * 3)
        target.canary.beats(1)


def far_future(target: Target) -> None:
    """Sequences that would make all that follows old."""
    ssrc, base = ssrc_of(target.canary), target.canary.spoken
    leaps = (AHEAD, 1 << 20, 0xFFFFFFFF - base, 0x7FFFFFFF)
    randomly = random.Random(6)
    # No two in a row: three that follow each other and decrypt to what is plausible are a device.
    heap = [
        forged(ssrc, base + leap - 2 * n, randomly.randbytes(90))
        for n in range(50)
        for leap in leaps
    ]
    pour(target, heap * (ROUND // len(heap)))
    spoof(target, heap)


def elsewhere(target: Target) -> None:
    """The right connection id and the next sequences, from other ports and addresses."""
    ssrc, randomly = ssrc_of(target.canary), random.Random(7)
    pour(
        target,
        (
            forged(ssrc, target.canary.spoken + 2 + 2 * (n % 20), randomly.randbytes(100))
            for n in range(ROUND)
        ),
    )


def other_device(target: Target) -> None:
    """Devices with sessions of their own send their audio under the canary's connection id."""
    with devices(target, range(5)) as crowd:
        for device in crowd:
            device.say(HELLO)
            own = device.told("hello")["udp"]
            voice = RawVoice(own)
            with voice.socket:
                cipher = Cipher(bytes.fromhex(own["key"]), ssrc_of(target.canary))
                for number in range(50):
                    sequence = target.canary.spoken + 2 + 2 * number
                    voice.socket.send(cipher.seal(sequence, 0, SPEECH[number]))
                voice.speak(SPEECH[0])
                assert voice.hear() == SPEECH[0], "its own session suffers"


def reflected(target: Target) -> None:
    """What the gateway has said, sent back: the same key, and good Opus."""
    for _ in range(5):
        echo = target.canary.told()
        pour(target, [echo] * 20)
        spoof(target, [echo] * 20)
        target.canary.beats(1)
    reflected_ahead(target)


def reflected_ahead(target: Target) -> None:
    """To a device that has said little but heard much, so that all of it would be news."""
    with devices(target, [1]) as (device,):
        device.say(HELLO)
        voice = RawVoice(device.told("hello")["udp"])
        with voice.socket:
            voice.speak(SPEECH[1])
            assert voice.hear() == SPEECH[1]
            device.say({"type": "play", "repeat": PLAYED_BACK})
            heard = [voice.socket.recv(2000) for _ in range(PLAYED_BACK)]
            for datagram in heard:
                voice.socket.send(datagram)
            pour(target, heard)
            voice.speak(SPEECH[2])
            assert voice.hear() == SPEECH[2], "the gateway believes itself"


def large(target: Target) -> None:
    """More than a datagram of audio may have, up to what UDP can carry."""
    ssrc, sequence = ssrc_of(target.canary), target.canary.spoken + 1
    sizes = (1485, 1500, 4000, 9000, 65_507 - 16)
    heap = [forged(ssrc, sequence, bytes(size), length=size & 0xFFFF) for size in sizes]
    pour(target, heap * 20)
    spoof(target, heap * 4)


def junk(target: Target) -> None:
    """Random bytes of random length, half of them with a header that is nearly right."""
    ssrc, randomly = ssrc_of(target.canary), random.Random(8)

    def heap() -> Iterator[bytes]:
        for _ in range(JUNK // 2):
            yield randomly.randbytes(randomly.randrange(200))
            ahead = AHEAD + randomly.randrange(1 << 30)
            yield forged(ssrc, ahead, randomly.randbytes(1 + randomly.randrange(150)))

    pour(target, heap())


CASES = (
    Case("udp: shorter than a header", "dropped and counted", short),
    Case("udp: zero length", "dropped; the socket stays open", from_anywhere(b"")),
    Case("udp: lying about length or type", "dropped and counted", lying),
    Case("udp: unknown connection id", "dropped and counted", unknown),
    Case("udp: replayed", "dropped as old, from wherever", replayed),
    Case("udp: raced copies", "the audio does not go to who copies datagrams", raced),
    Case(
        "udp: far-future sequences", "held until confirmed, which the next packet ends", far_future
    ),
    Case("udp: right connection id, other source", "held, never believed", elsewhere),
    Case(
        "udp: another device's key",
        "the same; its own session is not affected",
        other_device,
        lines=5 * (PER_DEVICE + 4),
    ),
    Case(
        "udp: own downlink reflected",
        "dropped by its flags",
        reflected,
        lines=PER_DEVICE + SESSION,
    ),
    Case("udp: more than 1,500 bytes", "dropped and counted", large),
    Case("udp: 50,000 junk datagrams", "dropped and counted; the canary talks on", junk),
)
