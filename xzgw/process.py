"""What is set once for the whole process: its clock, its garbage collector, its reactor's ways."""

from __future__ import annotations

import gc
import time
from typing import Any

from xzgw.net.accepting import hush
from xzgw.net.iteration import quicken

COLLECT_AFTER = 5000  # objects made and not given back


def prepare(reactor: Any) -> None:
    """Make process and reactor fit for the gateway; to be done before anything asks for the time.

    Twisted's own clock goes by the time of day, and setting that would end all connections at once,
    or give each time-out so much longer.
    """
    reactor.seconds = time.monotonic
    quicken(reactor)
    hush(reactor)
    reactor.callWhenRunning(_spare_collector)


def _spare_collector() -> None:
    """Let the garbage collector pass over what start-up has made, for it stays:
    looking at all of that stops everything for some 30 ms. And let it look less often: little of
    ours is cyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
