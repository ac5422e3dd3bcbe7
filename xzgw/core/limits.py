"""How much the gateway takes on: at a limit it refuses what is new and keeps what it has.

Refusals are counted by the name of the setting, and logged once in a while only: whoever causes
them may cause thousands a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from twisted.logger import Logger

from xzgw.config import Config
from xzgw.core.sayings import say
from xzgw.core.throttle import MessageLimit
from xzgw.wire.addresses import network_of

TELL_EVERY = 10.0  # s between log lines about the same limit
DRAINING = say("draining")
REASONS = (  # that `Limits.refused` has, settings first
    "max_connections",
    "max_connections_per_address",
    "max_connects_per_second",
    "max_unauthenticated",
    "max_sessions",
    "max_api_connections",
    "draining",
)


class Limits:
    """See the module's text.

    Attributes, for looking:
        devices: connected, with accepted credentials.
        unauthenticated: connections without, those whose PROXY header is not there yet included.
        expected: those without that are let in even after a drain has begun, as they were there
            before.
        sessions: open or being opened.
        api_connections: of the admin API.
        refused: how often, by the name of the setting; "draining" for that.
    """

    _log = Logger()

    def __init__(self, now: Callable[[], float], config: Config) -> None:
        """Take a clock, in seconds."""
        self.devices = 0
        self.unauthenticated = 0
        self.expected = 0
        self.sessions = 0
        self.api_connections = 0
        self.refused: Counter[str] = Counter()
        self.draining = False
        self._drain_began = 0.0  # clock seconds
        self._now = now
        self._config = config.limits
        self._pace = self._new_pace()
        self._strangers_at: Counter[str] = Counter()  # by network_of the address
        self._devices_at: Counter[str] = Counter()
        self._told: dict[str, tuple[float, int]] = {}  # setting -> when, and how many by then

    def configure(self, config: Config) -> None:
        """Take other limits; what is there already may stay."""
        old, self._config = self._config, config.limits
        if old.max_connects_per_second != self._config.max_connects_per_second:
            self._pace = self._new_pace()

    def drain(self) -> None:
        """From now on let nobody in, but for connections that are there already."""
        self.draining = True
        self._drain_began = self._now()

    # --- connections without accepted credentials ---

    def arrived(self, ip: str) -> str | None:
        """A connection comes from this address.

        Returns:
            None, and it is counted until `settled`; or why there is no room for it.
        """
        most, each = self._config.max_unauthenticated, self._config.max_connections_per_address
        network = network_of(ip)
        if not self._pace.take(self._now()):
            return self._refuse("max_connects_per_second", self._config.max_connects_per_second)
        if self.unauthenticated >= most:
            return self._refuse("max_unauthenticated", most)
        if each and self._strangers_at[network] >= each:
            return self._refuse("max_connections_per_address", each)
        self.unauthenticated += 1
        self._strangers_at[network] += 1
        return None

    def expect(self, since: float) -> bool:
        """Whether a connection that has `arrived` is let in even if a drain begins, or has begun.

        Args:
            since: clock seconds when it was accepted; its PROXY header may have come later.
        """
        before = not self.draining or since < self._drain_began
        self.expected += before
        return before

    def settled(self, ip: str, expected: bool = False) -> None:
        """It has shown good credentials, or is gone.

        Args:
            expected: what `expect` has said.
        """
        self.unauthenticated -= 1
        self.expected -= expected
        _subtract(self._strangers_at, network_of(ip))

    def proxied(self) -> Callable[[], None] | None:
        """A connection of which only the proxy is known yet; None if there is no room for it.

        It is counted, but not for the proxy's address, which is everybody's, until the call that is
        returned: when its PROXY header has come, so that it may have `arrived`, or when it is gone.
        """
        most = self._config.max_unauthenticated
        if self.unauthenticated >= most:
            self._refuse("max_unauthenticated", most)
            return None
        expected = not self.draining
        self.unauthenticated += 1
        self.expected += expected
        return partial(self._named, expected)

    def _named(self, expected: bool) -> None:
        self.unauthenticated -= 1
        self.expected -= expected

    # --- the admin API ---

    def called(self) -> bool:
        """Whether there is room for one more connection of the API, counted until `hung_up`."""
        most = self._config.max_api_connections
        if self.api_connections >= most:
            self._refuse("max_api_connections", most)
            return False
        self.api_connections += 1
        return True

    def hung_up(self) -> None:
        """It is gone."""
        self.api_connections -= 1

    def calling(self) -> Callable[[], None] | None:
        """The same as `called`; what to call when it is gone, None if there is no room."""
        return self.hung_up if self.called() else None

    # --- devices ---

    def full(self, ip: str, replaces: str | None, expected: bool = False) -> str | None:
        """Why one more device cannot be let in, None if it can.

        Args:
            replaces: the address of the connection that this one takes over from, if any.
            expected: what `expect` has said.
        """
        most, each = self._config.max_connections, self._config.max_connections_per_address
        if self.draining and not expected:
            return self._refuse("draining")
        if self.devices - (replaces is not None) >= most:
            return self._refuse("max_connections", most)
        network = network_of(ip)
        same = replaces is not None and network_of(replaces) == network
        if each and self._devices_at[network] - same >= each:
            return self._refuse("max_connections_per_address", each)
        return None

    def admitted(self, ip: str) -> None:
        """A device is let in."""
        self.devices += 1
        self._devices_at[network_of(ip)] += 1

    def left(self, ip: str) -> None:
        """It is gone."""
        self.devices -= 1
        _subtract(self._devices_at, network_of(ip))

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
