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
import threading
from twisted.internet import reactor
from xzgw import signals
reactor.addSystemEventTrigger("during", "shutdown", threading.Event().wait, 60)
nothing = lambda: None
reactor.callWhenRunning(signals.handle, reactor, nothing, nothing)
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
"""


class StopTests(SynchronousTestCase):
    """SIGTERM and SIGINT."""

    def test_something_hangs(self) -> None:
        """The process ends within five seconds with status 0 all the same."""
        self.assertLess(STOP_TIME, 5)
        command = [sys.executable, "-c", HANGING]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "ready\n")
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(20), 0)
            self.assertGreater(time.monotonic() - begun, STOP_TIME - 0.5)
