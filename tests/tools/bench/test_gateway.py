"""Reading what processes use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.bench.fleet import shares
from xzgw.tools.bench.gateway import cpu_seconds, machine_seconds, resident_kib
from xzgw.tools.steps import StepError


class UsageTests(SynchronousTestCase):
    """CPU time and memory."""

    def test_cpu(self) -> None:
        """Ours is what the clock of our own process says; several are added."""
        before = time.process_time()
        found = cpu_seconds([os.getpid()])
        self.assertTrue(before <= found <= time.process_time())
        self.assertGreaterEqual(cpu_seconds([os.getpid()] * 2), 2 * found)
        self.assertEqual(cpu_seconds([]), 0)

    def test_machine(self) -> None:
        """The whole machine has used at least what we have."""
        self.assertGreater(machine_seconds(), time.process_time())

    def test_memory(self) -> None:
        """What a process has grown by is seen."""
        before = resident_kib([os.getpid()])
        held = os.urandom(20 << 20)
        self.assertLess(abs(resident_kib([os.getpid()]) - before - (20 << 10)), 2 << 10)
        del held

    def test_gone(self) -> None:
        """A process that is no more is an error."""
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        for reading in (cpu_seconds, resident_kib):
            with self.assertRaises(StepError) as caught:
                reading([os.getpid(), process.pid])
            self.assertIn(f"no process {os.getpid()} or {process.pid}", str(caught.exception))

    def test_shares(self) -> None:
        """Devices are shared out among the processes of the fleet, none lost."""
        self.assertEqual(shares(7, 3), [3, 2, 2])
        self.assertEqual(shares(1, 2), [1, 0])
        self.assertEqual(shares(0, 2), [0, 0])

    def test_proc(self) -> None:
        """A zombie, which has no memory any more, is an error as well."""
        process = subprocess.Popen([sys.executable, "-c", ""])
        self.addCleanup(process.wait)
        state = Path(f"/proc/{process.pid}/stat")
        deadline = time.monotonic() + 10
        while state.read_text("ascii").rpartition(")")[2].split()[0] != "Z":
            self.assertLess(time.monotonic(), deadline)
        with self.assertRaises(StepError):
            resident_kib([process.pid])
