"""What the lives of devices have in common."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.api_support import Console
from tests.support import KEY
from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_tools import usual_tools
from xzgw.tools.identity import Identity
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import Watch
from xzgw.wire.messages import Json
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connect

WAKE_UP = "self.remote_wakeup"
MOST_FAULTS = 20  # that are told


class SoakMcp(DeviceMcp):
    """A device's tools. It can be waited for to be woken."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(usual_tools())
        self._watch = Watch(reactor)

    def answer(self, payload: object) -> Json | None:
        reply = super().answer(payload)
        self._watch.changed()
        return reply

    def woken(self, seconds: float) -> Any:
        """Fire at the next wake-up."""
        self.calls.clear()
        return self._watch.until(
            "the wake-up", lambda: any(name == WAKE_UP for name, _ in self.calls) or None, seconds
        )


class Dead(Protocol):
    """A device that says CONNECT, and then nothing more."""

    transport: Any

    def __init__(self, credentials: Connect) -> None:
        self.gone = False
        self._credentials = credentials

    def connectionMade(self) -> None:
        self.transport.write(encode(self._credentials))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True


class Surroundings:
    """What all lives share.

    Attributes:
        done: visits and steps by name, those that failed included.
        faults: what must never fail, and did, a line each.
        over: whether no visit is to begin, and long ones are to end.
        ends_at: the reactor's seconds when that is to be.
    """

    def __init__(self, reactor: Any, mqtt_port: int, console: Console, random: Random) -> None:
        self.reactor = reactor
        self.mqtt_port = mqtt_port
        self.console = console
        self.random = random
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.over = False
        self.ends_at = 0.0

    def fault(self, what: str) -> None:
        """Note what must never fail, and did."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(what)

    async def pause(self, longest: float) -> None:
        """Some time up to this many seconds."""
        await deferLater(self.reactor, self.random.uniform(0, longest))

    async def wait(self, longest: float) -> bool:
        """The same for a long time; false as soon as it is over."""
        until = self.reactor.seconds() + self.random.uniform(0, longest)
        while not self.over and (left := until - self.reactor.seconds()) > 0:
            await deferLater(self.reactor, min(left, 1.0))
        return not self.over

    def device(self, number: int, key: str = KEY) -> SimulatedDevice:
        """One that is not connected; the number makes MAC and uuid."""
        identity = Identity(f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}", f"soak-{number}")
        return SimulatedDevice(self.reactor, identity, key, mcp=SoakMcp(self.reactor))
