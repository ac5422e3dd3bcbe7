"""One process of the bench's fleet: devices and chat server in one thread.

`python -m xzgw.tools.bench.worker FD`, started by bench.fleet, does what it is told over a socket
and ends when that closes.
"""

from __future__ import annotations

import resource
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import zip_longest
from multiprocessing.connection import Connection
from time import monotonic_ns

from xzgw.tools.bench.device import BenchDevice, Surroundings
from xzgw.tools.bench.figures import Steps, Tally
from xzgw.tools.bench.frames import Frames, Window
from xzgw.tools.bench.loop import READ, Loop, Pace, Speak
from xzgw.tools.bench.orders import Connect, Count, Leave, Open, Order, Role, Talk
from xzgw.tools.bench.server import Server
from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_tools import usual_tools

STEP_NS = 10_000_000_000
_AT_ONCE = 16  # steps under way
_IDLE = 1.0  # s


class Worker:
    """Its devices, and its part of the chat server."""

    def __init__(self, role: Role, step_ns: int = STEP_NS) -> None:
        """
        Args:
            step_ns: what one device's step may take.
        Raises:
            OSError: the chat server cannot listen.
        """
        self._step_ns = step_ns
        self._role = role
        self._loop = loop = Loop()
        self._devices: list[BenchDevice] = []
        self._next = role.first
        self._under_way: set[BenchDevice] = set()
        self._steps = Steps()
        self._lost: Counter[str] = Counter()
        self._window = window = Window()
        frames = Frames(role.frame_ms, role.frame_bytes)
        place = role.server_family, role.server
        self._server = Server(loop, *place, frames, window, self._session_lost)
        self._around = Surroundings(
            role=role,
            loop=loop,
            frames=frames,
            window=window,
            mcp=DeviceMcp(usual_tools()),
            settled=self._settled,
            lost=self._device_lost,
        )

    def serve(self, orders: Connection) -> None:
        """Do what is ordered; raises EOFError when nobody orders any more."""
        self._loop.watch(orders.fileno(), READ, lambda _: orders.send(self.obey(orders.recv())))
        while True:
            self._loop.turn(_IDLE)

    def obey(self, order: Order) -> Steps | Tally | int:
        """Do it; its answer, as bench.orders has it."""
        match order:
            case Connect(count):
                return self._connect(count)
            case Open():
                shut = [device for device in self._devices if not device.is_open]
                return self._each(shut, BenchDevice.hello)
            case Leave(count):
                return self._leave(count)
            case Count():
                return len(self._server.open_lines())
            case Talk():
                return self._talk(order)

    def _connect(self, count: int) -> Steps:
        fresh = []
        while len(self._devices) < count:
            fresh.append(BenchDevice(self._around, self._next))
            self._devices.append(fresh[-1])
            self._next += 1
        return self._each(fresh, BenchDevice.connect)

    def _leave(self, count: int) -> Steps:
        leaving, self._devices = self._devices[count:], self._devices[:count]
        for device in leaving:
            device.leave()
        return Steps(done=len(leaving))

    def _each(self, devices: Sequence[BenchDevice], start: Callable[[BenchDevice], None]) -> Steps:
        """All devices take one step, at the fleet's rate."""
        self._steps = Steps()
        waiting = deque(devices)
        pause = int(1e9 / self._role.rate)
        due = monotonic_ns()
        while waiting or self._under_way:
            now = monotonic_ns()
            while waiting and due <= now and len(self._under_way) < _AT_ONCE:
                device = waiting.popleft()
                self._under_way.add(device)
                start(device)
                due = max(due + pause, now - pause)  # what was missed is not made up for
            self._loop.turn(min(max(due - now, 0) / 1e9, 0.1) if waiting else 0.1)
            for device in [one for one in self._under_way if now - one.since > self._step_ns]:
                device.fail(f"nothing within {self._step_ns / 1e9:g} s")
        return self._steps

    def _talk(self, talk: Talk) -> Tally:
        tally = Tally(lost=self._lost)
        self._lost = Counter()
        for device in self._devices:
            device.listen(tally.down)
        lines = self._server.open_lines()
        for line in lines:
            line.listen(tally.up)
        self._window.begin, self._window.end = talk.begin, talk.end
        upward: list[Speak] = [device.speak for device in self._devices] if talk.up else []
        downward: list[Speak] = [line.speak for line in lines] if talk.down else []
        both = zip_longest(upward, downward)  # in turn, so that each direction is spaced evenly
        pairs = [pair for up, down in both for pair in ((up, tally.up), (down, tally.down))]
        streams = [(speak, flow) for speak, flow in pairs if speak is not None]
        if not talk.up:
            for device in self._devices:  # it has an address only once it was heard
                device.speak(monotonic_ns())
        pace = Pace(streams, talk, self._role.frame_ms, tally)
        while monotonic_ns() < talk.finish:
            self._loop.turn(pace.wait())
            pace.run()
        tally.lost.update(self._lost)
        self._lost = Counter()
        return tally

    def _settled(self, device: BenchDevice, failure: str | None) -> None:
        self._under_way.discard(device)
        if failure is None:
            self._steps.done += 1
            self._steps.took.add(monotonic_ns() - device.since)
        else:
            self._steps.failed[failure] += 1
            self._devices.remove(device)

    def _device_lost(self, device: BenchDevice, reason: str) -> None:
        self._devices.remove(device)
        self._lost[reason] += 1

    def _session_lost(self, reason: str) -> None:
        self._lost[reason] += 1


def main() -> None:
    """Serve whoever started this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for who started us
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Connection(int(sys.argv[1])) as orders:
        try:
            worker = Worker(orders.recv())
        except OSError as e:
            orders.send(f"the chat server cannot listen: {e}")
            return
        orders.send("")
        try:
            worker.serve(orders)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
