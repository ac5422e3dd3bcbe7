"""The reactor's round, made cheaper for what is most of it: sockets that have something to read.

For each event Twisted's epoll reactor sets up a logging context, which no log line of ours shows,
and checks the descriptor anew. That takes 1.2 us, of the 12 us that a frame of audio takes beside
the system's calls. Here a readable descriptor is simply read; all else is left to the reactor. With
an epoll object of our own below the reactor's, which needs nothing private of Twisted's, the system
took as much as was saved.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.logger import Logger
from twisted.python import log

READABLE = getattr(select, "EPOLLIN", 1)
# What is used of the reactor though Twisted does not promise it (twisted.internet.epollreactor).
NEEDED = ("_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable")

_log = Logger()


def quicken(reactor: Any) -> bool:
    """Let a reactor do its rounds this way, if it is Twisted's of epoll; whether it is."""
    if not all(hasattr(reactor, name) for name in NEEDED):
        return False
    reactor.doIteration = Iteration(reactor)
    return True


class Iteration:
    """In place of EPollReactor.doPoll."""

    def __init__(self, reactor: Any) -> None:
        self._poll = reactor._poller.poll
        self._selectables = reactor._selectables
        self._disconnect = reactor._disconnectSelectable
        self._read_or_write = reactor._doReadOrWrite

    def __call__(self, timeout: float | None) -> None:
        """Wait for events, as many seconds at most; None: for ever. Serve them."""
        selectables = self._selectables
        # Python itself goes on waiting after a signal, whose handler wakes the reactor up.
        for fd, event in self._poll(-1 if timeout is None else timeout, len(selectables) or -1):
            selectable = selectables.get(fd)
            if selectable is None:  # given up because of an event before this one
                continue
            if event != READABLE:
                log.callWithLogger(selectable, self._read_or_write, selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except Exception as error:
                _log.failure("fault while reading from {selectable}", selectable=selectable)
                why = error
            if why:
                self._disconnect(selectable, why, True)
