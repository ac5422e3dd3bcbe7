"""Devices, servers and callers come and go for long: `make soak MINUTES=30`.

First a warm-up, after which all go and the gateway's levels are taken; then the same once more for
the rest of the time. In the end everything must be back where it was (`levels.leaks`), and the log
must show no fault. The exit status tells; a line of levels is printed each minute.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.threads import deferToThread

from tests.api_support import HOST, Console, today, token
from tests.hostile.harness import FAULTS
from tests.hostile.target import Gateway
from tests.soak.levels import LONG, MEMORY, MEMORY_EARLY, Levels, leaks, line, look, table
from tests.soak.lives import Life
from tests.soak.surroundings import Surroundings
from tests.soak.world import ChatServer, Settings, ask_around, read_events
from tests.support import PATIENCE
from xzgw.core.calls import ANSWER_TIME

WARM_UP = 1 / 3  # of all the time
QUIET = ANSWER_TIME + 15.0  # s that the gateway has to put everything away, calls last
PAUSE = 2.0  # s between two looks at that
UPTIME = 90.0  # s that a chat server lasts at most
ENVIRONMENT = {
    "XZGW_MQTT": "tcp:0:interface=127.0.0.1:backlog=1000",
    "XZGW_MAX_CONNECTS_PER_SECOND": "100000",
}


class SoakGateway(Gateway):
    """The process, and its levels."""

    def look(self) -> Levels:
        """What it has now, our own connection always included. Blocks."""
        with closing(HTTPConnection(HOST, self.api_port, timeout=PATIENCE)) as connection:
            headers = {"Authorization": f"Bearer {token(today())}"}
            connection.request("GET", "/v1/status", headers=headers)
            return look(self._process.pid, json.load(connection.getresponse()))


class Soak:
    """One gateway and all that it goes through."""

    def __init__(self, reactor: Any, directory: Path, devices: int, seed: int) -> None:
        self._reactor = reactor
        self._devices = devices
        self._random = Random(seed)
        self._servers = [ChatServer(), ChatServer()]
        self._settings = Settings(directory / "xzgw.json", [each.url for each in self._servers])
        for server in self._servers:
            server.start()
        flags = ("--config", str(self._settings.path))
        self.gateway = SoakGateway(directory / "gateway", ENVIRONMENT, flags=flags)
        self._console = Console(self.gateway.api_port)
        mqtt = self.gateway.mqtt_port
        self._around = Surroundings(reactor, mqtt, self._console, self._random)
        self._start = self.gateway.look()

    @property
    def done(self) -> dict[str, int]:
        """What has happened, and how often."""
        return dict(self._around.done)

    @property
    def faults(self) -> list[str]:
        """What must never fail, and did."""
        return self._around.faults

    async def churn(self, seconds: float) -> Levels:
        """All come, and after so many seconds all go; the levels when nothing more is to be done.

        The two whose going takes longest, a server's restart and a device's turn, are waited for.
        """
        around = self._around
        around.over = False
        around.ends_at = self._reactor.seconds() + seconds
        port = self.gateway.api_port
        lives = [Life(around, number).live() for number in range(self._devices)]
        others = [
            *(server.come_and_go(around, min(seconds / 2, UPTIME)) for server in self._servers),
            self._settings.change(around, self.gateway),
            *(read_events(around, port) for _ in range(4)),
            *(ask_around(around, self._console) for _ in range(2)),
        ]
        all_over = gatherResults(map(Deferred.fromCoroutine, [*lives, *others]), consumeErrors=True)
        self._reactor.callLater(seconds, setattr, around, "over", True)
        await all_over
        return await self._at_rest()

    async def levels(self) -> Levels:
        """Of this moment."""
        return await deferToThread(self.gateway.look)

    def end(self) -> list[str]:
        """Stop the gateway; what was wrong with that, and with its log. Blocks."""
        status = self.gateway.stop()
        found = [f"{fault!r} in the log" for fault in FAULTS if fault in self.gateway.log]
        return [*found, f"the gateway has ended with status {status}"] if status else found

    def close(self) -> None:
        """End all processes. Blocks."""
        self.gateway.kill()
        for server in self._servers:
            server.stop()

    async def _at_rest(self) -> Levels:
        """The levels once all but the memory is as at the start, or time is up."""
        until = self._reactor.seconds() + QUIET
        while True:
            now = await self.levels()
            clean = not leaks(self._start, replace(now, memory_kib=0))
            if clean or self._reactor.seconds() > until:
                return now
            await deferLater(self._reactor, PAUSE)


async def soak(
    reactor: Any, subject: Soak, seconds: float, memory_kib: int, say: Callable[[str], object]
) -> list[str]:
    """Churn, and what is wrong after it; says what it does."""
    warm_up = seconds * WARM_UP
    started = reactor.seconds()
    at_work: list[Levels] = []

    async def tell() -> None:
        try:
            at_work.append(await subject.levels())
        except (OSError, HTTPException) as error:
            subject.faults.append(f"no levels: {type(error).__name__}: {error}")
        else:
            say(line((reactor.seconds() - started) / 60, at_work[-1]))

    minutely = LoopingCall(lambda: Deferred.fromCoroutine(tell()))
    minutely.start(min(60.0, seconds / 2), now=False)
    try:
        before = await subject.churn(warm_up)
        after = await subject.churn(seconds - warm_up)
    finally:
        minutely.stop()
    say(", ".join(f"{name}: {count}" for name, count in sorted(subject.done.items())))
    busiest = max(at_work, key=lambda levels: levels.devices, default=after)
    for row in table((("after the warm-up", before), ("at work", busiest), ("in the end", after))):
        say(row)
    return [*leaks(before, after, memory_kib), *await deferToThread(subject.end), *subject.faults]


async def main(reactor: Any, arguments: Sequence[str], say: Callable[[str], object]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--devices", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory", type=int, help="KiB more that are no leak")
    options = parser.parse_args(arguments)
    memory = options.memory
    if memory is None:
        memory = MEMORY if options.minutes >= LONG else MEMORY_EARLY
    with tempfile.TemporaryDirectory() as directory:
        subject = await deferToThread(Soak, reactor, Path(directory), options.devices, options.seed)
        # Should we be stopped, nothing must be left behind.
        trigger = reactor.addSystemEventTrigger("after", "shutdown", subject.close)
        try:
            problems = await soak(reactor, subject, options.minutes * 60, memory, say)
        finally:
            reactor.removeSystemEventTrigger(trigger)
            await deferToThread(subject.close)
    for problem in problems:
        say(f"WRONG: {problem}")
    say("FAILED" if problems else "PASSED")
    return 1 if problems else 0


async def _react(reactor: Any) -> None:
    def say(text: str) -> None:
        print(text, flush=True)

    reactor.suggestThreadPoolSize(20)
    status = await main(reactor, sys.argv[1:], say)
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(_react(reactor)))
