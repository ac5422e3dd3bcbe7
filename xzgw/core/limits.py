"""How much the gateway takes on: at a limit it refuses what is new and keeps what it has.

Refusals are counted by the name of the setting, and logged once in a while only: whoever causes
them may cause thousands a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from xzgw.config import Config
from xzgw.core.throttle import MessageLimit

TELL_EVERY = 10.0  # s between log lines about the same limit
DRAINING = "the gateway is being drained"


class Limits:
    """See the module's text.

    Attributes, for looking:
        devices: connected, with accepted credentials.
        unauthenticated: connections without.
        sessions: open or being opened.
        refused: how often, by the name of the setting; "draining" for that.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float], config: Config) -> None:
        """Take a clock, in seconds."""
        self.devices = 0
        self.unauthenticated = 0
        self.sessions = 0
        self.refused: Counter[str] = Counter()
        self.draining = False
        self._now = now
        self._config = config.limits
        self._pace = self._new_pace()
        self._strangers_at: Counter[str] = Counter()  # by IP address
        self._devices_at: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}  # setting -> when, and how many by then

    def configure(self, config: Config) -> None:
        """Take other limits; what is there already may stay."""
        old, self._config = self._config, config.limits
        if old.max_connects_per_second != self._config.max_connects_per_second:
            self._pace = self._new_pace()

    # --- connections without accepted credentials ---

    def arrived(self, ip: str) -> str | None:
        """A connection comes from this address.

        Returns:
            None, and it is counted until `settled`; or why it has to be closed at once.
        """
        most, each = self._config.max_unauthenticated, self._config.max_connections_per_address
        if not self._pace.take(self._now()):
            return self._refuse("max_connects_per_second", self._config.max_connects_per_second)
        if self.unauthenticated >= most:
            return self._refuse("max_unauthenticated", most)
        if each and self._strangers_at[ip] >= each:
            return self._refuse("max_connections_per_address", each)
        self.unauthenticated += 1
        self._strangers_at[ip] += 1
        return None

    def settled(self, ip: str) -> None:
        """It has shown good credentials, or is gone."""
        self.unauthenticated -= 1
        _subtract(self._strangers_at, ip)

    # --- devices ---

    def full(self, ip: str, replaces: str | None) -> str | None:
        """Why one more device cannot be let in, None if it can.

        Args:
            replaces: the address of the connection that this one takes over from, if any.
        """
        most, each = self._config.max_connections, self._config.max_connections_per_address
        if self.draining:
            return self._refuse("draining")
        if self.devices - (replaces is not None) >= most:
            return self._refuse("max_connections", most)
        if each and self._devices_at[ip] - (replaces == ip) >= each:
            return self._refuse("max_connections_per_address", each)
        return None

    def admitted(self, ip: str) -> None:
        """A device is let in."""
        self.devices += 1
        self._devices_at[ip] += 1

    def left(self, ip: str) -> None:
        """It is gone."""
        self.devices -= 1
        _subtract(self._devices_at, ip)

    # --- sessions ---

    def no_session(self, replaces: bool) -> str | None:
        """Why no session can be opened now, None if one can.

        Args:
            replaces: whether it takes the place of an open one.
        """
        if self.draining:
            return self._refuse("draining")
        if not replaces and self.sessions >= self._config.max_sessions:
            return self._refuse("max_sessions", self._config.max_sessions)
        return None

    def _new_pace(self) -> MessageLimit:
        rate = self._config.max_connects_per_second
        return MessageLimit(rate, rate, self._now())

    def _refuse(self, setting: str, value: int | None = None) -> str:
        self.refused[setting] += 1
        reason = DRAINING if value is None else f"{setting} ({value}) is reached"
        now, total = self._now(), self.refused[setting]
        at, told = self._told.get(setting, (now - TELL_EVERY, 0))
        if now >= at + TELL_EVERY:
            self._told[setting] = now, total
            self._log.warn(
                "{reason}: refusing what is new; {count} since the last such line",
                reason=reason,
                count=total - told,
            )
        return reason


def _subtract(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
