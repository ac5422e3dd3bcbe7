"""File descriptors: each connection and each session takes one."""

from __future__ import annotations

import resource

from twisted.logger import Logger

from xzgw.config import Config

SPARE = 200  # for ports, files, readers of the admin API

_log = Logger()


def raise_descriptors(config: Config) -> None:
    """Allow this process as many as it may have, and say so if that is less than it may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # some systems have further bounds
            _log.warn("cannot raise the number of file descriptors: {why}", why=error)
    limits = config.limits
    wanted = limits.max_connections + limits.max_unauthenticated + limits.max_sessions + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warn(
            "{allowed} file descriptors are allowed, but max_connections, max_unauthenticated and"
            " max_sessions come to {wanted}: raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            allowed=soft,
            wanted=wanted,
        )
