"""Networks that do harm on purpose, between real sockets: for datagrams and for connections.

What happens to a datagram depends on a seed and on its turn, not on the clock. Each path keeps
record of what it has passed on, which is the truth that others' statistics have to tell.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from threading import Condition, Thread

from tests.support import PATIENCE, reset

HOST = "127.0.0.1"
FURTHEST = 3  # datagrams that may overtake one
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Harm:
    """What happens to datagrams: probabilities, and s of delay at most."""

    lose: float = 0.0
    double: float = 0.0
    hold: float = 0.0  # until 1 to FURTHEST others have overtaken it
    delay: float = 0.0  # without overtaking


class Way:
    """One direction.

    Attributes:
        harm: to be done from now on.
        arrived, delivered: sequences, as they came and as they were sent on.
    """

    def __init__(self, seed: int) -> None:
        self.harm = Harm()
        self.arrived: list[int] = []
        self.delivered: list[int] = []
        self._random = Random(seed)
        self._held: list[tuple[int, bytes]] = []  # how many are yet to overtake it
        self._due = 0.0  # when the latest one is sent on
        self._news = Condition()

    def wait(self, count: int) -> None:
        """Until so many have come, and it is decided what becomes of them."""
        with self._news:
            came = self._news.wait_for(lambda: len(self.arrived) >= count, PATIENCE)
        assert came, f"{len(self.arrived)} of {count} datagrams have come"

    def take(self, datagram: bytes) -> list[tuple[float, bytes]]:
        """What comes of one datagram: those to be sent now or later, and when."""
        passed = self._fate(datagram)
        if passed:
            held, self._held = self._held, []
            for left, each in held:
                if left > 1:
                    self._held.append((left - 1, each))
                else:
                    passed.append(each)
        with self._news:
            self.arrived.append(_sequence(datagram))
            self.delivered += map(_sequence, passed)
            self._news.notify_all()
        delay = self._random.uniform(0, self.harm.delay)
        self._due = max(self._due, time.monotonic() + delay)
        return [(self._due, each) for each in passed]

    def _fate(self, datagram: bytes) -> list[bytes]:
        harm, dice = self.harm, self._random.random()
        if dice < harm.lose:
            return []
        if dice < harm.lose + harm.double:
            return [datagram, datagram]
        if dice < harm.lose + harm.double + harm.hold:
            self._held.append((self._random.randint(1, FURTHEST), datagram))
            return []
        return [datagram]


def _sequence(datagram: bytes) -> int:
    return int.from_bytes(datagram[12:16], "big")


class _Path:
    """A thread that waits for sockets and for orders."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._mouth = socket.socketpair()
        self._selector.register(self._ear, selectors.EVENT_READ, self._obey)
        self._orders: list[Callable[[], None]] = []
        self._over = False
        self._thread = Thread(target=self._run)

    def close(self) -> None:
        """Stop; all sockets are closed."""

        def end() -> None:
            self._over = True

        if self._thread.is_alive():
            self._order(end)
            self._thread.join(PATIENCE)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._mouth.close()

    def _order(self, what: Callable[[], None]) -> None:
        """Have the thread do something."""
        self._orders.append(what)
        self._mouth.send(b"!")

    def _obey(self) -> None:
        for _ in self._ear.recv(1):
            self._orders.pop(0)()

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(self._until()):
                if key.fileobj in self._selector.get_map():  # it may have been closed just now
                    key.data()
            self._after()

    def _until(self) -> float | None:
        """Seconds until something is to be done anyway."""
        return None

    def _after(self) -> None:
        """What is to be done by now."""


class UdpPath(_Path):
    """Between one device and a gateway.

    Attributes:
        port: where the device sends to.
        up, down: the two ways, seen from the device.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.up, self.down = Way(seed), Way(seed + 1)
        self._gateway: Address = (HOST, 0)
        self._device: Address = (HOST, 0)
        self._queue: list[tuple[float, int, socket.socket, bytes, Address]] = []
        self._number = 0
        self._near = self._open(self._from_device)
        self._far = self._open(self._from_gateway)
        self.port: int = self._near.getsockname()[1]

    def start(self, gateway_port: int) -> None:
        """Take what comes."""
        self._gateway = HOST, gateway_port
        self._thread.start()

    def rebind(self) -> None:
        """Be at another port for the gateway, as a NAT may decide."""

        def move() -> None:
            self._selector.unregister(self._far)
            self._far.close()
            self._far = self._open(self._from_gateway)

        self._order(move)

    def _open(self, ready: Callable[[], None]) -> socket.socket:
        opened = socket.socket(type=socket.SOCK_DGRAM)
        opened.bind((HOST, 0))
        self._selector.register(opened, selectors.EVENT_READ, ready)
        return opened

    def _from_device(self) -> None:
        datagram, self._device = self._near.recvfrom(2000)
        self._pass_on(self.up.take(datagram), self._far, self._gateway)

    def _from_gateway(self) -> None:
        self._pass_on(self.down.take(self._far.recv(2000)), self._near, self._device)

    def _pass_on(
        self, datagrams: list[tuple[float, bytes]], through: socket.socket, to: Address
    ) -> None:
        for due, datagram in datagrams:
            self._number += 1
            heapq.heappush(self._queue, (due, self._number, through, datagram, to))

    def _until(self) -> float | None:
        return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None

    def _after(self) -> None:
        while self._queue and self._queue[0][0] <= time.monotonic():
            _, _, through, datagram, to = heapq.heappop(self._queue)
            through.sendto(datagram, to)


class TcpPath(_Path):
    """In front of a TCP server."""

    def __init__(self, server_port: int) -> None:
        super().__init__()
        self._server = HOST, server_port
        self._listener = socket.create_server((HOST, 0))
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._waiting: dict[socket.socket, Callable[[], None]] = {}  # while it is stalled
        self._pairs: dict[socket.socket, socket.socket] = {}
        self.port: int = self._listener.getsockname()[1]
        self._thread.start()

    def stall(self) -> None:
        """Let nothing through for the time being."""
        self._order(self._hold)

    def resume(self) -> None:
        """Let everything through that has come meanwhile."""
        self._order(self._let_go)

    def reset(self) -> None:
        """Both ends of every connection get a RST."""

        def cut() -> None:
            for each in list(self._pairs):
                reset(each)
                self._drop(each)

        self._order(cut)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(self._server, PATIENCE)
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ, self._carrier(one, other))

    def _carrier(self, one: socket.socket, other: socket.socket) -> Callable[[], None]:
        def carry() -> None:
            try:
                data = one.recv(65536)
                other.sendall(data)
            except OSError:
                data = b""
            if not data:
                self._drop(one)
                self._drop(other)

        return carry

    def _hold(self) -> None:
        for each in self._pairs:
            self._waiting[each] = self._selector.unregister(each).data

    def _let_go(self) -> None:
        for each, ready in self._waiting.items():
            self._selector.register(each, selectors.EVENT_READ, ready)
        self._waiting.clear()

    def _drop(self, one: socket.socket) -> None:
        if self._pairs.pop(one, None) is not None:
            if self._waiting.pop(one, None) is None:
                self._selector.unregister(one)
            one.close()
