"""What one device sends, counted: no more than message_rate is taken of it.

Packets of MQTT that carry no message count towards the rate, too.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.core.services import Services
from xzgw.core.throttle import MessageLimit


class Intake:
    """See the module's text.

    Attributes:
        messages: all that came.
        refused: those that were no JSON objects.
        limit: what was over it is counted there.
    """

    __slots__ = ("_client_id", "_close", "_services", "limit", "messages", "refused")

    _log = Logger()

    def __init__(self, client_id: str, services: Services, close: Callable[[str], None]) -> None:
        """Take how to close the device's connection, with a reason."""
        config, now = services.config, services.clock.seconds()
        self.messages = 0
        self.refused = 0
        self.limit = MessageLimit(config.message_rate, config.message_burst, now)
        self._client_id = client_id
        self._services = services
        self._close = close

    def take(self, cost: int, at: float) -> bool:
        """Count a message that is as much work as so many usual ones; whether to take it.

        Args:
            at: clock seconds.
        """
        self.messages += 1
        return self.within_limit(cost, at)

    def within_limit(self, cost: int, at: float) -> bool:
        """The same for a packet that is no message."""
        if self.limit.take(at, cost):
            return True
        rate = self._services.config.message_rate
        if self.limit.to_be_told(at):
            self._log.warn(
                "{client}: more than {rate} messages/s (message_rate): dropping the excess",
                client=self._client_id,
                rate=rate,
            )
        if self.limit.abused:
            self._close(f"keeps sending more than {rate} messages/s")
        return False

    def refuse(self, why: str) -> None:
        """It is no message after all."""
        self.refused += 1
        if self.refused == 1:
            self._log.warn(
                "{client}: dropping a message that is {why} (further ones are only counted)",
                client=self._client_id,
                why=why,
            )
