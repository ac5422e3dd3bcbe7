"""What `twistd xzgw` runs: the process around the gateway.

Here the process is told what to do, by signals and by its configuration's file, and tells the
service manager; what does it is made in whole.py.
"""

from __future__ import annotations

import gc
import secrets
import time
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger

from xzgw import __version__, signals
from xzgw.config import Config, load
from xzgw.core.sayings import Saying
from xzgw.descriptors import fitted
from xzgw.net.accepting import hush
from xzgw.net.iteration import quicken
from xzgw.net.notify import Notifier, NotifyService
from xzgw.net.services import regularly
from xzgw.options import Options
from xzgw.reload import LOOK_EVERY, ConfigWatcher
from xzgw.whole import build

__all__ = ["Options", "makeService"]

COLLECT_AFTER = 5000  # objects made and not given back

_log = Logger()


def makeService(options: Options) -> IService:
    """What `twistd xzgw` runs."""
    from twisted.internet import reactor

    _steady(reactor)
    config, warnings = fitted(options.config, options.warnings)
    _log.info("xzgw {version}, configuration {path}", version=__version__, path=config.source)
    for warning in warnings:
        _log.warn("configuration: {it}", it=warning)
    gateway = build(reactor, config, secrets.token_bytes, warnings)

    def load_again() -> tuple[Config, tuple[Saying, ...]]:
        return fitted(*load(options.flags, options.environ, options.directory))

    watcher = ConfigWatcher(gateway.reading, load_again, gateway.configure)
    regularly(reactor, LOOK_EVERY, watcher.look).setServiceParent(gateway.service)
    manager = Notifier(options.environ)
    NotifyService(manager).setServiceParent(gateway.service)  # last: all ports are open by then

    def reload() -> None:
        _log.info("SIGHUP: reading certificates and configuration again")
        manager.reloading("reading certificates and configuration again")
        gateway.reload_certificates()
        watcher.look(force=True)
        manager.ready("serving")

    def drain() -> None:
        _log.info("SIGUSR1: draining")
        gateway.drain()

    gateway.watch_drain(partial(manager.status, "draining"), partial(manager.status, "drained"))
    signals.handle(reactor, reload, drain)
    # The reactor has set its own handlers by the time it runs.
    reactor.callWhenRunning(signals.handle, reactor, reload, drain)
    quicken(reactor)
    hush(reactor)
    reactor.callWhenRunning(_spare_collector)
    return gateway.service


def _steady(reactor: Any) -> None:
    """Let timers go by a clock that nobody can set: Twisted's own goes by the time of day, and
    setting that would end all connections at once, or give each time-out so much longer."""
    reactor.seconds = time.monotonic


def _spare_collector() -> None:
    """Let the garbage collector pass over what start-up has made, for it stays:
    looking at all of that stops everything for some 30 ms. And let it look less often: little of
    ours is cyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
