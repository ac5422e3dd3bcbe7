"""autobahn's WebSocket client, with time left for everybody else.

A read of 16 KiB may hold some thousand frames, and autobahn would go through all of them before
anybody else has a turn: a server that sends without end would hold up all devices. Here it rests
after a number of them, and meanwhile nothing is read.
"""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketClientProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

REST = 0.05  # s


class RationedProtocol(WebSocketClientProtocol):
    """See the module's text."""

    portion = 200  # steps of autobahn's parser at once; a frame takes two
    transport: Any  # TCP or TLS

    def __init__(self) -> None:
        super().__init__()
        self._steps = self.portion  # left before the next rest
        self._rest: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        if self._rest is None:
            self._steps = self.portion
        super().dataReceived(data)

    def processData(self) -> bool:
        # autobahn's way to take one step; false if there is none to take.
        if self._steps:
            self._steps -= 1
            return bool(super().processData())
        if self._rest is None:
            self.transport.pauseProducing()
            self._rest = self.factory.reactor.callLater(REST, self._go_on)
        return False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().connectionLost(reason)

    def _go_on(self) -> None:
        self._rest = None
        if self.state == self.STATE_CLOSED:
            return
        self.dataReceived(b"")
        if self._rest is None:
            self.transport.resumeProducing()
