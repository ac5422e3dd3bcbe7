"""The end of the process, however little the rest of it helps."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from xzgw.signals import STOP_TIME

# A process whose reactor hangs when it shuts down, as one does that waits for a name server.
HANGING = """
import sys, threading
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from xzgw import signals
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
reactor.addSystemEventTrigger("during", "shutdown", threading.Event().wait, 60)
nothing = lambda: None
reactor.callWhenRunning(signals.handle, reactor, nothing, nothing)
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
"""

# One that waits for ever for somebody to read its log.
FLOODING = """
import sys
from twisted.internet import reactor
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from xzgw import signals
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
nothing = lambda: None
def flood():
    while True:
        Logger().info("x" * 1000)
reactor.addSystemEventTrigger("during", "shutdown", flood)
reactor.callWhenRunning(signals.handle, reactor, nothing, nothing)
reactor.callWhenRunning(print, "ready", file=sys.stderr, flush=True)
reactor.run()
"""


# One that is told to stop as soon as its reactor runs; what twistd would end with comes last.
EARLY = """
import os, signal
from twisted.internet import reactor
from xzgw import signals
reactor.callWhenRunning(os.kill, os.getpid(), signal.SIGTERM)
signals.handle(reactor, lambda: None, lambda: None)
reactor.run()
print(reactor._exitSignal)
"""


class StopTests(SynchronousTestCase):
    """SIGTERM and SIGINT."""

    def test_something_hangs(self) -> None:
        """The process ends within five seconds with status 0 all the same, and says so."""
        self.assertLess(STOP_TIME, 5)
        command = [sys.executable, "-c", HANGING]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                pass
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0)
            self.assertGreater(time.monotonic() - begun, STOP_TIME - 0.5)
            self.assertIn("not done within 4.8 s: ending all the same", process.stdout.read())

    def test_nobody_reads(self) -> None:
        """So it does if its log cannot be written."""
        command = [sys.executable, "-c", FLOODING]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            self.assertEqual(process.stderr.readline(), b"ready\n")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0)

    def test_at_the_start(self) -> None:
        """One that comes while the reactor is starting ends with status 0, like any other."""
        command = [sys.executable, "-c", EARLY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        self.assertEqual(done.stdout.splitlines()[-1], "None")
