"""A command as a child process, its output watched."""

from __future__ import annotations

import re

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from xzgw.tools.steps import Watch

PATIENCE = 60.0  # s


class Child(ProcessProtocol):
    """A process whose output can be waited for."""

    def __init__(self) -> None:
        self.output = ""
        self.ended: Deferred[int] = Deferred()
        self.watch = Watch(reactor)

    def childDataReceived(self, _fd: int, data: bytes) -> None:
        self.output += data.decode()
        self.watch.changed()

    def processEnded(self, reason: Failure) -> None:
        assert isinstance(reason.value, ProcessDone | ProcessTerminated)
        self.ended.callback(reason.value.exitCode)

    def shows(self, pattern: str) -> Deferred[re.Match[str]]:
        """Fire with the first place in the output that fits."""
        return self.watch.until(
            f"output of {pattern}", lambda: re.search(pattern, self.output), PATIENCE
        )

    def end(self, process: IProcessTransport) -> Deferred[int]:
        """Fire when the process has ended, which a failed test may have left undone."""
        if not self.ended.called:
            process.signalProcess("TERM")  # not KILL: it may have a child of its own to end
        return self.ended
