"""File descriptors: each connection and each session takes one.

Without one a connection is cut off before anything can be said to it; so the limits that the
gateway goes by never come to more than the process may have.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import replace

from twisted.logger import Logger

from xzgw.config import Config
from xzgw.core.sayings import Saying, say
from xzgw.settings.limits import LimitsConfig

SPARE = 500  # for ports, files, webhooks, checks, and connections that are only told of a limit
_TAKERS = ("max_connections", "max_unauthenticated", "max_sessions", "max_api_connections")

_log = Logger()


def fitted(config: Config, warnings: Sequence[Saying]) -> tuple[Config, tuple[Saying, ...]]:
    """Allow this process as many as it may have, and lower the limits if that is not enough.

    Args:
        warnings: what is odd about the configuration.
    Returns:
        The configuration to use, and the warnings with one about that.
    """
    allowed, limits = _raise(), config.limits
    wanted = SPARE + sum(_takers(limits).values())
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return config, tuple(warnings)
    lower = _within(limits, allowed - min(SPARE, allowed // 2))
    values = ", ".join(f"{name} {value}" for name, value in _takers(lower).items())
    warning = say(
        "few_descriptors", allowed=allowed, limits=", ".join(_TAKERS), wanted=wanted, values=values
    )
    return replace(config, limits=lower), (*warnings, warning)


def _raise() -> int:
    """The number allowed, after it was raised as far as possible."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # some systems have further bounds
            _log.warn("cannot raise the number of file descriptors: {why}", why=error)
    return soft


def _takers(limits: LimitsConfig) -> dict[str, int]:
    return {name: getattr(limits, name) for name in _TAKERS}


def _within(limits: LimitsConfig, room: int) -> LimitsConfig:
    """Limits that come to this number. The API has a tenth; of the rest each has its part, as the
    defaults are to each other, and what one does not need is left to the others.
    """
    calls = min(limits.max_api_connections, max(1, room // 10))
    values, parts = (_takers(each) for each in (limits, LimitsConfig()))
    lower = {"max_api_connections": calls}
    while len(lower) < len(values):
        left = {name: parts[name] for name in values if name not in lower}
        share = (room - sum(lower.values())) / sum(left.values())
        modest = {name: values[name] for name, part in left.items() if values[name] <= part * share}
        lower |= modest or {name: max(1, int(part * share)) for name, part in left.items()}
    return replace(limits, **lower)
