"""A soak of some seconds, and whether it would find what it looks for."""

from __future__ import annotations

import os
from dataclasses import asdict, replace

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.soak.levels import MEMORY, NAMES, Levels, leaks, line, look, table
from tests.soak.run import main

REST = Levels(
    memory_kib=70_000,
    descriptors=13,
    threads=1,
    timers=4,
    devices=0,
    unauthenticated=0,
    sessions=0,
    channels=0,
    in_calls=0,
    mcp_requests=0,
    servers=2,
    event_readers=0,
    api_connections=1,
)


class SoakTests(TestCase):
    """The whole."""

    timeout = 150  # s; a call that nobody answers may keep a timer for one minute

    async def test_short(self) -> None:
        """Few devices for a short time: sessions come about, and all of it is given back."""
        said: list[str] = []
        arguments = ("--minutes", "0.15", "--devices", "6", "--memory", "20000")
        status = await main(reactor, arguments, said.append)
        report = "\n".join(said)
        self.assertEqual((status, said[-1]), (0, "PASSED"), report)
        self.assertRegex(report, r"\bsessions: [1-9]")
        self.assertRegex(report, r"\breaders of events: [1-9]")
        self.assertRegex(report, r"\bchanges of the configuration: [1-9]")
        self.assertRegex(report, r"(?m)^ +0\.\d min memory_kib=\d+ .* devices=[1-9]")

    async def test_failed(self) -> None:
        """It ends with a status of its own when something is not given back."""
        said: list[str] = []
        arguments = ("--minutes", "0.02", "--devices", "0", "--memory", "-1000000")
        self.assertEqual(await main(reactor, arguments, said.append), 1)
        self.assertRegex(said[-2], r"^WRONG: memory_kib: [\d,]+, [\d,]+ before")
        self.assertEqual(said[-1], "FAILED")


class LevelTests(SynchronousTestCase):
    """What is looked at, and the verdict."""

    def test_well(self) -> None:
        """The same as before, or less, and the memory that an allocator takes as it likes."""
        self.assertEqual(leaks(REST, REST), [])
        self.assertEqual(leaks(REST, replace(REST, memory_kib=70_000 + MEMORY)), [])
        self.assertEqual(leaks(replace(REST, timers=5, threads=2), REST), [])

    def test_leak(self) -> None:
        """One more of anything is found, and told with both figures."""
        for name in NAMES:
            step = MEMORY + 1 if name == "memory_kib" else 1
            before = getattr(REST, name)
            (problem,) = leaks(REST, replace(REST, **{name: before + step}))
            self.assertIn(f"{name}: {before + step:,}, {before:,} before", problem)

    def test_look(self) -> None:
        """Of a process, and what it tells of itself."""
        own = {"memory_kib", "descriptors", "threads"}
        told = {name: value for name, value in asdict(REST).items() if name not in own}
        held = {name: told.pop(name) for name in ("timers", "channels", "in_calls", "mcp_requests")}
        held |= {name: told.pop(name) for name in ("servers", "event_readers")}
        levels = look(os.getpid(), {**told, "held": held})
        self.assertGreater(min(levels.memory_kib, levels.descriptors, levels.threads), 0)
        mine = {name: getattr(levels, name) for name in own}
        self.assertEqual(levels, replace(REST, **mine))

    def test_shown(self) -> None:
        """In one line, and side by side."""
        self.assertIn(" timers=4 ", line(1.0, REST))
        rows = table((("before", REST), ("after", replace(REST, memory_kib=71_000))))
        self.assertEqual(rows[:3], ["| | before | after |", "|---|---:|---:|", rows[2]])
        self.assertEqual(rows[2], "| memory_kib | 70,000 | 71,000 |")
        self.assertEqual(len(rows), 2 + len(NAMES))
