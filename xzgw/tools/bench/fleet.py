"""The processes of the bench's fleet, told what to do all at once."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from xzgw.tools.bench.figures import Steps, Tally
from xzgw.tools.bench.orders import Connect, Count, Leave, Open, Order, Role, Talk
from xzgw.tools.gateway_process import child_environment
from xzgw.tools.steps import StepError

_NUMBERS = 1 << 18  # of devices, for each process
_PHASE = 200_000  # ns
_FILES = 4  # of a device: MQTT, UDP, WebSocket; and one as the last are shared out unevenly
_OWN_FILES = 64


def room(processes: int) -> int:
    """Devices for which the processes' file descriptors are enough."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return processes * _NUMBERS
    return processes * (hard - _OWN_FILES) // _FILES


def shares(count: int, processes: int) -> list[int]:
    """Devices for each process: as equal as can be."""
    return [count // processes + (one < count % processes) for one in range(processes)]


class Fleet:
    """Devices and chat server. All waits raise StepError when a process has ended."""

    def __init__(self, role: Role, processes: int) -> None:
        """Start so many processes, each in that role but for its devices' numbers."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lines: list[Connection] = []
        try:
            for number in range(processes):
                self._start()
                self._send(number, replace(role, first=role.first + number * _NUMBERS))
            for fault in self._replies():
                if fault:
                    raise StepError(f"fleet: {fault}")
        except StepError:
            self.stop()
            raise

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return [process.pid for process in self._processes]

    def connect(self, count: int) -> Steps:
        """Have so many devices connected."""
        return self._steps([Connect(share) for share in shares(count, len(self._lines))])

    def open(self) -> Steps:
        """Have a session for each device."""
        return self._steps([Open() for _ in self._lines])

    def leave(self, count: int) -> Steps:
        """Keep only so many devices."""
        return self._steps([Leave(share) for share in shares(count, len(self._lines))])

    def sessions(self) -> int:
        """How many the chat server has."""
        return sum(self._ask([Count() for _ in self._lines]))

    def talk(self, talk: Talk, meanwhile: Callable[[], None]) -> Tally:
        """Send audio; `meanwhile` is called once it has begun."""
        for number in range(len(self._lines)):
            # A small part of a frame apart, so that they do not all send at the same moment.
            self._send(number, replace(talk, start=talk.start + number * _PHASE))
        meanwhile()
        whole = Tally()
        for part in self._replies():
            whole.merge(part)
        return whole

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for line, process in zip(self._lines, self._processes, strict=True):
            line.close()
            process.kill()
            process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "xzgw.tools.bench.worker", str(theirs.fileno())]
        environ = child_environment(os.environ, {})
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                command, env=environ, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self._processes.append(process)
        self._lines.append(Connection(ours.detach()))

    def _steps(self, orders: Sequence[Order]) -> Steps:
        whole = Steps()
        for part in self._ask(orders):
            whole.merge(part)
        return whole

    def _ask(self, orders: Sequence[Order]) -> list[Any]:
        for number, order in enumerate(orders):
            self._send(number, order)
        return self._replies()

    def _send(self, number: int, order: Order | Role) -> None:
        try:
            self._lines[number].send(order)
        except OSError:
            raise self._ended(number) from None

    def _replies(self) -> list[Any]:
        replies = []
        for number, line in enumerate(self._lines):
            try:
                replies.append(line.recv())
            except (EOFError, OSError):
                raise self._ended(number) from None
        return replies

    def _ended(self, number: int) -> StepError:
        return StepError(f"fleet: process {self._processes[number].pid} of the bench has ended")
