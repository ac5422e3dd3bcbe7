"""File descriptors: each connection and each session takes one."""

from __future__ import annotations

import resource

from twisted.logger import Logger

from xzgw.config import Config

SPARE = 500  # for ports, files, webhooks, checks, and connections that are only told of a limit

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
    wanted = SPARE + sum(
        (
            limits.max_connections,
            limits.max_unauthenticated,
            limits.max_sessions,
            limits.max_api_connections,
        )
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warn(
            "{allowed} file descriptors are allowed, but max_connections, max_unauthenticated,"
            " max_sessions and max_api_connections come to {wanted}: raise the hard limit"
            " (ulimit -Hn, LimitNOFILE=)",
            allowed=soft,
            wanted=wanted,
        )
