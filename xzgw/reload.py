"""Reads the configuration again when its file changes, or on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.logger import Logger

from xzgw.config import Config, ConfigError
from xzgw.core.sayings import Saying
from xzgw.masked import masked
from xzgw.wire.messages import Json

LOOK_EVERY = 2.0  # s
# Ports that are open stay as they are, and so does a port that is not: the admin API's is opened
# only with a strong signature key.
NEEDS_RESTART = ("mqtt", "api", "udp_host", "udp_port", "udp_socket", "admin_api")


class Reading:
    """The configuration in use, where it is from, and what became of the last attempt at another.

    Attributes:
        config: in use, as far as it could be taken without a restart.
    """

    def __init__(
        self,
        config: Config,
        now: Callable[[], float],
        warnings: Sequence[Saying] = (),
        advice: Callable[[], Sequence[Saying]] = tuple,
    ) -> None:
        """
        Args:
            config: the first one, read now.
            now: unix time.
            warnings: what is odd about it.
            advice: what is odd besides, whenever asked.
        """
        self.config = config
        self._now = now
        self._at_start = config
        self._read_at = now()
        self._refused: Json | None = None
        self._warnings = tuple(warnings)
        self._advice = advice

    def taken(self, config: Config, warnings: Sequence[Saying] = ()) -> None:
        """Another one has taken its place, with these oddities."""
        self.config = config
        self._warnings = tuple(warnings)
        self._read_at = self._now()
        self._refused = None

    def refused(self, problems: Sequence[str]) -> None:
        """Another one could not be taken, for these reasons."""
        self._refused = {"at": self._now(), "problems": list(problems)}

    def report(self) -> Json:
        """Everything, fit to be shown; times are unix seconds.

        `source` is null without a file; `needs_restart` names what is not as it was at the start,
        and so is not in use yet; `not_taken` is null unless the last attempt failed; `warnings` is
        what the log was told about the configuration and the sockets made from it.
        """
        source, warnings = self.config.source, [*self._warnings, *self._advice()]
        start, config = self._at_start, self.config
        return {
            "read_at": self._read_at,
            "source": None if source is None else str(source),
            "config": masked(config),
            "needs_restart": [n for n in NEEDS_RESTART if getattr(config, n) != getattr(start, n)],
            "not_taken": self._refused,
            "warnings": warnings,
            "warning_parts": [warning.parts for warning in warnings],
        }


class ConfigWatcher:
    """Gives each new configuration to `apply`; a broken one is logged and the old one kept."""

    _log = Logger()

    def __init__(
        self,
        reading: Reading,
        load: Callable[[], tuple[Config, tuple[Saying, ...]]],
        apply: Callable[[Config], None],
    ) -> None:
        """
        Args:
            reading: the configuration as it is now; is told of each other.
            load: reads everything again; raises ConfigError.
        """
        self._reading = reading
        self._load = load
        self._apply = apply
        self._stamp = _stamp(reading.config.source)

    def look(self, force: bool = False) -> None:
        """Read everything again if the file is another one than last time; to be called every
        LOOK_EVERY seconds.

        Args:
            force: in any case, since there is more than the file to read.
        """
        old = self._reading.config
        stamp = _stamp(old.source)
        if stamp == self._stamp and not force:
            return
        self._stamp = stamp
        try:
            config, warnings = self._load()
            if _is_gone(old.source, config.source):  # what is left are defaults
                self._stamp = None
                raise ConfigError([f"{old.source}: the file is gone"])
        except ConfigError as error:
            self._reading.refused(error.problems)
            for problem in error.problems:
                self._log.error("configuration not taken, the old one stays: {it}", it=problem)
            return
        for warning in warnings:
            self._log.warn("configuration: {it}", it=warning)
        for name in NEEDS_RESTART:
            if getattr(config, name) != getattr(old, name):
                self._log.warn("configuration: a change of {name} needs a restart", name=name)
        if config.source != old.source:  # there was none before, or it is another now
            self._stamp = _stamp(config.source)
        self._apply(config)
        self._reading.taken(config, warnings)
        where = config.source or "the environment"
        self._log.info("configuration read again from {where}", where=where)


def _is_gone(old: Path | None, new: Path | None) -> bool:
    """Whether the old file has lost its place to another, or to none, by not being there."""
    return old not in (None, new) and (new is None or _stamp(old) is None)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What tells one state of a file from another; None if there is no file."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
