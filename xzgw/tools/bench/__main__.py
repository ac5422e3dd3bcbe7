"""How many devices a gateway carries, and what they cost: `python -m xzgw.tools.bench`.

Simulated devices talk through the gateway to a chat server; both belong to the bench, and run in
processes of their own on one machine, so that each frame's way is timed on one clock.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from xzgw.tools.bench import options
from xzgw.tools.bench.fleet import Fleet, room
from xzgw.tools.bench.gateway import HOST, OwnGateway
from xzgw.tools.bench.measure import Bench, Load, RefusedError
from xzgw.tools.bench.options import Plan, resolve
from xzgw.tools.bench.orders import Address, Role
from xzgw.tools.bench.ramp import Verdict, search
from xzgw.tools.bench.report import Report, as_json, table
from xzgw.tools.demo import throwaway_key
from xzgw.tools.echo_server import PATH
from xzgw.tools.narration import Say, silent
from xzgw.tools.steps import StepError

_FIRST = 4  # devices that come before any is measured
_INTERRUPTED = 130
_TOO_FEW_FILES = "have enough file descriptors: raise the hard limit (ulimit -Hn)"

Pids = tuple[int, ...]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def reserve(stack: ExitStack, host: str, port: int) -> tuple[int, Address]:
    """A TCP address for the chat server, kept until the end; siblings may listen at it."""
    family, address = resolve(host, port)
    keeper = stack.enter_context(socket.socket(family))
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.bind(address)
    return family, keeper.getsockname()


class Run:
    """One run, from the first process to the last."""

    def __init__(self, plan: Plan, say: Say, command: Sequence[str] | None = None) -> None:
        """Take what starts a gateway, if not the usual."""
        self._plan = plan
        self._say = say
        self._command = command
        self._stack = ExitStack()

    def run(self) -> Report:
        """Measure. Raises StepError."""
        with self._stack:
            try:
                return self._measured(self._start())
            except OSError as e:
                raise StepError(f"network: {e}") from None

    def _start(self) -> Bench:
        plan = self._plan
        if plan.devices > room(plan.processes):
            raise StepError(f"connecting: only {room(plan.processes)} devices {_TOO_FEW_FILES}")
        server_family, server = reserve(self._stack, *plan.server)
        key = plan.key or throwaway_key()
        (host, port), pids, check = self._gateway(server[1], key)
        family, address = resolve(host, port)
        role = Role(
            first=0,
            family=family,
            gateway=address,
            server_family=server_family,
            server=server,
            key=key,
            frame_ms=plan.frame_ms,
            frame_bytes=plan.frame_bytes,
            rate=plan.rate / plan.processes,
        )
        fleet = Fleet(role, plan.processes)
        self._stack.callback(fleet.stop)
        return Bench(fleet, pids, plan, check)

    def _gateway(self, server_port: int, key: str) -> tuple[tuple[str, int], Pids, Say]:
        """Where it listens, its processes, and what raises StepError when it has ended."""
        plan = self._plan
        if plan.mqtt_port is not None:
            return (plan.host, plan.mqtt_port), plan.pids, silent
        directory = self._stack.enter_context(TemporaryDirectory())
        url = f"ws://{HOST}:{server_port}{PATH}"
        gateway = OwnGateway(url, key, Path(directory), self._command)
        self._stack.callback(gateway.stop)
        port = gateway.port()
        self._say(f"gateway: process {gateway.pid}, MQTT at {HOST}:{port}")
        return (HOST, port), (gateway.pid,), gateway.check

    def _measured(self, bench: Bench) -> Report:
        plan = self._plan
        bench.rehearse(_FIRST)
        report = Report(plan, bench.memory())
        count = min(plan.devices, plan.most) if plan.ramp else plan.devices
        self._say(f"{count} devices connect and open sessions")
        report.connects = bench.connect(count)
        report.sessions = bench.open(count)
        if plan.ramp:
            self._ramp(bench, report)
        else:
            self._say(f"they talk for {plan.warmup:g} s and for {plan.duration:g} s that count")
            report.load = bench.load(count, plan.warmup, plan.duration)
        bench.leave()
        return report

    def _ramp(self, bench: Bench, report: Report) -> None:
        plan = self._plan

        def measure(count: int) -> Verdict:
            try:
                bench.resize(count)
            except RefusedError as e:
                self._say(f"{count} devices: {e}")
                return Verdict.GATEWAY
            load = bench.load(count, plan.warmup, plan.duration)
            self._say(f"{count} devices: {load.verdict.value}")
            self._remember(report, load)
            return load.verdict

        report.found = search(plan.devices, min(plan.most, room(plan.processes)), measure)

    def _remember(self, report: Report, load: Load) -> None:
        report.steps.append(load)
        if load.verdict is Verdict.HOLDS and (
            report.load is None or load.devices > report.load.devices
        ):
            report.load = load


def _write(plan: Plan, report: Report) -> None:
    text = json.dumps(as_json(report), indent=2)
    if plan.json == "-":
        print(text)
        print(table(report), file=sys.stderr)
        return
    if plan.json is not None:
        Path(plan.json).write_text(text + "\n", "utf-8")
    print(table(report))


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 if all went well, 1 if a step failed, a session was lost or a frame was damaged."""
    plan = options.read(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):  # which a script's shell may have ignored
        signal.signal(number, _interrupt)
    try:
        if plan.json not in (None, "-"):
            Path(plan.json).touch()  # not to learn at the end that it cannot be written
        report = Run(plan, _say).run()
        _write(plan, report)
    except KeyboardInterrupt:
        _say("bench: interrupted")
        return _INTERRUPTED
    except (StepError, OSError) as e:
        _say(f"bench: FAILED: {e}")
        return 1
    return report.status


if __name__ == "__main__":
    sys.exit(main())
