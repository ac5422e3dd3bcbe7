"""Reads the configuration again when its file changes, or on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from xzgw.config import Config, ConfigError

LOOK_EVERY = 2.0  # s
NEEDS_RESTART = ("mqtt", "api", "udp_host", "udp_port", "udp_socket")


class ConfigWatcher:
    """Gives each new configuration to `apply`; a broken one is logged and the old one kept."""

    _log = Logger()

    def __init__(
        self,
        config: Config,
        load: Callable[[], tuple[Config, tuple[str, ...]]],
        apply: Callable[[Config], None],
    ) -> None:
        """
        Args:
            config: as it is now.
            load: reads everything again; raises ConfigError.
        """
        self._config = config
        self._load = load
        self._apply = apply
        self._stamp = _stamp(config.source)

    def service(self, clock: IReactorTime) -> TimerService:
        """Looks at the file every LOOK_EVERY seconds."""
        service = TimerService(LOOK_EVERY, self.look)
        service.clock = clock
        return service

    def look(self, force: bool = False) -> None:
        """Read everything again if the file is another one than last time.

        Args:
            force: in any case, since there is more than the file to read.
        """
        stamp = _stamp(self._config.source)
        if stamp == self._stamp and not force:
            return
        self._stamp = stamp
        try:
            config, warnings = self._load()
        except ConfigError as error:
            for problem in error.problems:
                self._log.error("configuration not taken, the old one stays: {it}", it=problem)
            return
        for warning in warnings:
            self._log.warn("configuration: {it}", it=warning)
        for name in NEEDS_RESTART:
            if getattr(config, name) != getattr(self._config, name):
                self._log.warn("configuration: a change of {name} needs a restart", name=name)
        if config.source != self._config.source:  # there was none before, or it is another now
            self._stamp = _stamp(config.source)
        self._config = config
        self._apply(config)
        where = config.source or "the environment"
        self._log.info("configuration read again from {where}", where=where)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; None if there is no file."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
