"""A UDP relay between devices and a gateway that does harm on purpose."""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from threading import Thread

HOST = "127.0.0.1"
TALKING = 0.5  # s since a device was heard


class Relay:
    """Passes datagrams on, in a thread of its own. Each device has a socket towards the gateway.

    Attributes:
        gateway: the UDP port to pass to; to be set before the first datagram.
        drop_every: in each direction every so-manieth datagram is dropped; 0 for none.
        delay: seconds that each datagram is held.
        admitted: so many of those that are talking have their datagrams passed on; 0 for all.
    """

    def __init__(self, drop_every: int = 0, delay: float = 0.0, admitted: int = 0) -> None:
        self.gateway = 0
        self._drop_every = drop_every
        self._delay = delay
        self._admitted = admitted
        self._counts = {"up": 0, "down": 0}
        self._upstream: dict[tuple[str, int], socket.socket] = {}  # by the device's address
        self._heard: dict[tuple[str, int], float] = {}  # when last, those heard first come first
        self._held: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._number = 0
        self._selector = selectors.DefaultSelector()
        self._public = self._bound()
        self._selector.register(self._public, selectors.EVENT_READ, None)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = Thread(target=self._run)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where devices are to send to."""
        return int(self._public.getsockname()[1])

    def close(self) -> None:
        """Stop."""
        self._waker.send(b"x")
        self._thread.join()
        self._selector.close()
        for one in (self._public, self._wake, self._waker, *self._upstream.values()):
            one.close()

    @staticmethod
    def _bound() -> socket.socket:
        made = socket.socket(type=socket.SOCK_DGRAM)
        made.bind((HOST, 0))
        return made

    def _run(self) -> None:
        while True:
            due = self._held[0][0] - time.monotonic() if self._held else None
            for key, _ in self._selector.select(None if due is None else max(0.0, due)):
                if key.fileobj is self._wake:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj, key.data)
            while self._held and self._held[0][0] <= time.monotonic():
                _, _, through, datagram, to = heapq.heappop(self._held)
                through.sendto(datagram, to)

    def _read(self, source: socket.socket, device: tuple[str, int] | None) -> None:
        try:
            datagram, sender = source.recvfrom(2048)
        except ConnectionError:
            return  # the other end is gone
        if device is None:
            self._heard[sender] = time.monotonic()
            if sender not in self._upstream:
                self._upstream[sender] = upstream = self._bound()
                self._selector.register(upstream, selectors.EVENT_READ, sender)
            self._pass("up", sender, self._upstream[sender], datagram, (HOST, self.gateway))
        else:
            self._pass("down", device, self._public, datagram, device)

    def _is_admitted(self, device: tuple[str, int]) -> bool:
        talking = [d for d, at in self._heard.items() if at > time.monotonic() - TALKING]
        return device in talking[: self._admitted]

    def _pass(
        self,
        direction: str,
        device: tuple[str, int],
        through: socket.socket,
        datagram: bytes,
        to: tuple[str, int],
    ) -> None:
        if self._admitted and not self._is_admitted(device):
            return
        self._counts[direction] += 1
        if self._drop_every and self._counts[direction] % self._drop_every == 0:
            return
        self._number += 1
        held = (time.monotonic() + self._delay, self._number, through, datagram, to)
        heapq.heappush(self._held, held)
