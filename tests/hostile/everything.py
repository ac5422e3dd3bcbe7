"""All kinds of floods at the same time, from all sides, without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread

from tests.hostile.caller import DEVICES, LAST, OPEN, ask
from tests.hostile.cases_udp import forged, pour
from tests.hostile.foul_server import BINARY, PING, TEXT, Peer
from tests.hostile.harness import Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATIENCE, frame
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Publish

JUNK = encode(Publish("device-server", b"junk")) * 500


def knock(target: Target) -> None:
    """Strangers, with and without words."""
    with ExitStack() as stack:
        for number in range(20):
            connection = stack.enter_context(target.connect())
            connection.sendall((b"SSH-2.0-x\r\n", b"\x10\xff\xff", b"")[number % 3])


def publish(target: Target) -> None:
    """A device that sends junk."""
    device = RawDevice(target.address, 1)
    with device.socket:
        device.log_in()
        device.socket.sendall(JUNK)


def open_sessions(target: Target) -> None:
    """Devices that say hello and leave, in the middle of it or not."""
    for number in range(2, 7):
        device = RawDevice(target.address, number)
        with device.socket:
            if device.log_in() == 0:
                device.say(HELLO)
                device.say(HELLO)
                if number % 2:
                    device.told("hello")


def datagrams(target: Target) -> None:
    pour(target, (forged(number, 1) for number in range(200)))


def requests(target: Target) -> None:
    ask(target, (DEVICES + b"\r\n") * 20 + OPEN + LAST + b"\r\n")


FLOODS = (knock, publish, open_sessions, datagrams, requests)


def torrent(peer: Peer) -> None:
    """A chat server that never stops, either."""
    peer.greet()
    words = frame(TEXT, b'{"type":"stt"}') * 10 + frame(BINARY, bytes(100)) + frame(PING, b"")
    while True:
        peer.send(words)
        time.sleep(0.001)  # or none of its threads would leave time for the canary


@contextmanager
def flooded(target: Target) -> Iterator[None]:
    """All of it at the same time."""
    over = Event()

    def again(flood: Callable[[Target], None]) -> None:
        while not over.is_set():
            # Closed in their faces, as it should be.
            with suppress(OSError, EOFError, AssertionError):
                flood(target)

    threads = [Thread(target=again, args=(each,), name=each.__name__) for each in FLOODS]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(4 * PATIENCE)
