"""What the process does when it is told something by a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

STOP_TIME = 4.8  # s until the process ends even if something hangs, such as a name server

LAST_WORDS = 0.1  # s for the log to take them

_log = Logger()


def handle(reactor: Any, reload: Callable[[], None], drain: Callable[[], None]) -> None:
    """SIGTERM and SIGINT stop with status 0: twistd's own handlers would end with the signal.

    Args:
        reload: for SIGHUP.
        drain: for SIGUSR1.
    """

    def stop(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # stopping has its own time limit; once is enough
        last_resort = threading.Timer(STOP_TIME, _end)
        last_resort.daemon = True
        last_resort.start()
        reactor.callFromThread(_log.info, "{name}: stopping", name=signal.Signals(number).name)
        reactor.callFromThread(reactor.stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    reactor.sigTerm = reactor.sigInt = stop  # which it installs when it begins to run
    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(reload))
    signal.signal(signal.SIGUSR1, lambda number, frame: reactor.callFromThread(drain))


def _end() -> None:
    """End at once. What hangs may be the log, so its last line gets a thread of its own."""
    line = "not done within {seconds:g} s: ending all the same"
    words = threading.Thread(target=_log.warn, args=(line,), kwargs={"seconds": STOP_TIME})
    words.daemon = True
    words.start()
    words.join(LAST_WORDS)
    os._exit(0)
