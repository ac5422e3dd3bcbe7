"""The hostile suite's frame: a gateway process, the canary that it serves, and what is attacked.

How to write cases:

    def endless_names(target: Target) -> None:
        '''One round of the attack; raises AssertionError if the answer is not the expected one.'''

    CASES = (Case("connect: endless names", "closed without CONNACK", endless_names),)

    class ConnectTests(HostileTestCase):
        def test_connect(self) -> None:
            '''...'''
            self.face(CASES)

`face` starts one gateway and one canary for all the cases of a test. It runs each case in rounds,
until the memory has stopped growing, and then looks (`judge`) whether

- the canary has lost nothing, got nothing wrong or late, and is in its first session;
- the process is alive, and has logged no fault and nothing secret;
- descriptors are as many as before, and memory is the same in the end from round to round;
- the log grew by no more than the case's `lines` a round: events, but no line per packet.

By default a device's hello leads to `Crowd`, a server that echoes for everybody. Pass the URLs of
other chat servers to `face` to attack from that side: only the canary's server is its own, for its
MAC is in the list of development devices. At the end of a test the gateway must stop cleanly.

`docs/robustness.md` has a row for each case; test_table.py compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.api_support import today, token
from tests.hostile.canary import Canary
from tests.hostile.target import Crowd, Gateway, Target, eventually
from tests.support import KEY, SECRET

__all__ = ["Case", "Crowd", "Gateway", "HostileTestCase", "Target", "eventually"]

FAULTS = ("Traceback", "Unhandled", "fault while", "Bearer")
LEAST_ROUNDS = 3
# Many: garbage in cycles is collected now and then only, and looks like a leak until then.
MOST_ROUNDS = 100
# KiB that two rounds after each other may add to the memory of a gateway that leaks nothing: its
# allocator takes pages as it likes. A round is large enough that a leak shows, as a rule a hundred
# connections or some thousand packets, so even a leak of 3 KiB each is found.
PLATEAU = 256
SINGLE = 3 * 1024  # KiB
STRAY_LINES = 10  # that a gateway may log now and then, whatever a case does
SETTINGS = {
    "XZGW_MQTT": "tcp:0:interface=127.0.0.1:backlog=1000",
    # The cases mean to get further than to the limit of connections per second.
    "XZGW_MAX_CONNECTS_PER_SECOND": "100000",
}


def on_plateau(memory: Sequence[float]) -> bool:
    """Whether the last rounds no longer added to the memory; KiB before and after each round."""
    return len(memory) > LEAST_ROUNDS and memory[-1] - memory[-3] <= PLATEAU


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Attributes:
        name: the first column of docs/robustness.md.
        expected: what the gateway is to do, for people; `attack` and `judge` make sure.
        attack: does one round of it.
        lines: log lines that a round may cause.
        rounds: 1 for what takes long. Its memory may grow by SINGLE then, which is less than it
            would take if each of some hundred connections left as little as 10 KiB behind.
    """

    name: str
    expected: str
    attack: Callable[[Target], None]
    lines: int = 0
    rounds: int = LEAST_ROUNDS

    def is_over(self, memory: Sequence[float]) -> bool:
        """Whether no further round is needed; KiB before and after each round."""
        if self.rounds < LEAST_ROUNDS:
            return len(memory) > self.rounds and memory[-1] - memory[0] <= SINGLE
        return on_plateau(memory)


@dataclass(slots=True)
class Course:
    """What was seen of the gateway in the course of a case."""

    descriptors: tuple[int, int] = (0, 0)  # before and after
    memory: list[float] = field(default_factory=list)  # KiB, before and after each round
    log: Sequence[str] = ()  # lines added
    alive: bool = True
    canary: Sequence[str] = ()  # its faults


def judge(case: Case, course: Course, secrets: Iterable[str] = ()) -> list[str]:
    """What went wrong, a line each."""
    problems = list(course.canary)
    if not course.alive:
        problems.append("the process has died")
    log = "\n".join(course.log)
    problems += [f"{fault!r} in the log:\n{log[-3000:]}" for fault in FAULTS if fault in log]
    problems += ["a secret in the log" for secret in secrets if secret in log]
    before, after = course.descriptors
    if after > before:
        problems.append(f"{after} descriptors, {before} before")
    if not case.is_over(course.memory):
        problems.append(f"memory keeps growing: {course.memory} KiB")
    lines, most = len(course.log), (len(course.memory) - 1) * case.lines + STRAY_LINES
    if lines > most:
        last = "\n".join(course.log[-5:])
        problems.append(f"{lines} lines in the log, not {most} at most:\n{last}")
    return problems


class HostileTestCase(SynchronousTestCase):
    """One gateway per test, for all of its cases."""

    def start(self, servers: Sequence[str] = (), settings: dict[str, str] | None = None) -> Target:
        """A gateway with a canary that talks; arguments as for `start_unheard`."""
        target = self.start_unheard(settings, servers)
        target.canary.start(target.gateway.mqtt_port)
        return target

    def start_unheard(
        self, settings: dict[str, str] | None = None, servers: Sequence[str] = ()
    ) -> Target:
        """A gateway, and a canary that is not connected yet.

        Args:
            servers: chat servers for everybody but the canary; none: `Crowd`.
            settings: more environment variables for the gateway.
        """
        canary = Canary()
        self.addCleanup(canary.stop)
        if not servers:
            crowd = Crowd()
            self.addCleanup(crowd.close)
            servers = [crowd.url]
        config = {
            "production": {"chat_servers": list(servers)},
            "development": {"chat_servers": [canary.server.url], "mac_addresss": [canary.mac]},
        }
        path = Path(self.mktemp()).absolute()
        path.write_text(json.dumps(config), "utf-8")
        gateway = Gateway(
            Path(self.mktemp()), {**SETTINGS, **(settings or {})}, flags=("--config", str(path))
        )
        self.addCleanup(gateway.kill)
        return Target(gateway, canary)

    def face(
        self,
        cases: Sequence[Case],
        servers: Sequence[str] = (),
        settings: dict[str, str] | None = None,
    ) -> Target:
        """Run the cases one after the other, then stop the gateway; see the module's text."""
        target = self.start(servers, settings)
        for case in cases:
            self.undergo(case, target)
        self.assertEqual(target.canary.check(), [])
        self.assertEqual(target.gateway.stop(), 0)
        self.look_at_log(target)
        return target

    def look_at_log(self, target: Target) -> None:
        """All of the log: no faults, no secrets."""
        for each in (*FAULTS, KEY, SECRET, token(today()), target.canary.udp["key"]):
            self.assertNotIn(each, target.gateway.log)

    def undergo(self, case: Case, target: Target) -> None:
        """Run one case; fails with everything that is wrong."""
        gateway, canary = target.gateway, target.canary
        started, open_before = len(gateway.lines), gateway.descriptors()
        course = Course(memory=[gateway.memory()])
        most = MOST_ROUNDS if case.rounds > 1 else 1
        try:
            while len(course.memory) <= most and not case.is_over(course.memory):
                case.attack(target)
                eventually(lambda: gateway.descriptors() <= open_before)
                course.memory.append(gateway.memory())
        except (AssertionError, OSError, EOFError) as error:
            course.canary = [f"round {len(course.memory)}: {type(error).__name__}: {error}"]
        course.canary = [*course.canary, *canary.check()]
        course.descriptors = open_before, gateway.descriptors()
        course.alive = gateway.is_alive()
        course.log = gateway.lines[started:]
        problems = judge(case, course, (KEY, SECRET, canary.udp["key"]))
        if problems:
            self.fail("\n".join([case.name, *problems]))
