"""What devices do all day: each life is a loop of visits to the gateway, at random.

Whatever a visit comes to, the device is gone when it is over. A step that fails is counted, as it
may: chat servers are killed, and other devices interfere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from twisted.internet.task import deferLater

from tests.api_support import HOST, Console
from tests.support import KEY, SPEECH
from xzgw.core.calls import ANSWER_TIME
from xzgw.tools.device_mcp import DeviceMcp
from xzgw.tools.device_tools import usual_tools
from xzgw.tools.identity import Identity
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import StepError, TooLate, Watch
from xzgw.wire.messages import Json

LONGEST_SILENCE = 90.0  # s until a gateway has noticed that a device is gone without a word
LONGEST_TURN = 40  # packets
BREATH = 1.0  # s
WAKE_UP = "self.remote_wakeup"


class SoakMcp(DeviceMcp):
    """A device's tools. It can fall silent, and be waited for to be woken."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(usual_tools())
        self.mute = False
        self._watch = Watch(reactor)

    def answer(self, payload: object) -> Json | None:
        """None when mute."""
        reply = None if self.mute else super().answer(payload)
        self._watch.changed()
        return reply

    def woken(self, seconds: float) -> Any:
        """Fire at the next wake-up."""
        self.calls.clear()
        return self._watch.until(
            "the wake-up", lambda: any(name == WAKE_UP for name, _ in self.calls) or None, seconds
        )


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


class Life:
    """One device, or two that call each other."""

    def __init__(self, around: Surroundings, number: int) -> None:
        self._around = around
        self._number = number
        self._me = around.device(number)
        self._other = around.device(number)  # the same device, once more
        self._friend = around.device(number + 0x8000)

    async def live(self) -> None:
        """Visit the gateway until it is over."""
        around = self._around
        visits = {
            self._talk: 8,
            self._greet_again: 4,
            self._break_off: 4,
            self._take_over: 3,
            self._call: 3,
            self._stay: 2,
            self._guess: 1,
        }
        while not around.over:
            (visit,) = around.random.choices(list(visits), list(visits.values()))
            await self._visit(visit)
            await around.pause(BREATH)

    async def _visit(self, visit: Callable[[], Awaitable[None]]) -> None:
        around = self._around
        name = visit.__name__.strip("_")
        try:
            await visit()
            around.done[name] += 1
        except StepError as error:
            around.done[f"{name} failed"] += 1
            around.done[f"failed: {str(error).partition(':')[0]}"] += 1
        for device in (self._me, self._other, self._friend):
            device.mcp.calls.clear()
            await device.disconnect()

    async def _connect(self, device: SimulatedDevice) -> None:
        assert isinstance(device.mcp, SoakMcp)
        device.mcp.mute = False
        await device.connect(HOST, self._around.mqtt_port)
        self._around.done["connections"] += 1

    async def _hello(self, device: SimulatedDevice) -> None:
        await device.hello()
        self._around.done["sessions"] += 1

    async def _say_something(self, device: SimulatedDevice) -> None:
        count = self._around.random.randint(1, LONGEST_TURN)
        start = self._around.random.randrange(len(SPEECH))
        await device.speak([SPEECH[(start + n) % len(SPEECH)] for n in range(count)])
        self._around.done["packets"] += count

    # --- visits ---

    async def _talk(self) -> None:
        """As it should be, turn by turn."""
        await self._connect(self._me)
        await self._hello(self._me)
        for _ in range(self._around.random.randint(1, 3)):
            if self._around.over:
                break
            self._me.listen("start", mode="manual")
            await self._say_something(self._me)
            self._me.listen("stop")
            await self._me.expect("tts", state="stop")
        self._me.goodbye()

    async def _greet_again(self) -> None:
        """Hello after hello without a goodbye, at times without waiting for the answer."""
        await self._connect(self._me)
        for _ in range(self._around.random.randint(2, 4)):
            await self._hello(self._me)
            self._me.listen("start", mode="auto")
            await self._say_something(self._me)
            if self._around.random.random() < 0.3:
                self._me.send({"type": "udp_timeout"})

    async def _break_off(self) -> None:
        """Reset the connection: at once, while a server is dialled, or while talking."""
        await self._connect(self._me)
        when = self._around.random.randrange(3)
        if when == 1:
            hello = self._me.hello()
            hello.addErrback(lambda failure: failure.trap(StepError))
            await self._around.pause(0.01)
        elif when == 2:
            await self._hello(self._me)
            self._me.listen("start", mode="manual")
            await self._say_something(self._me)
            self._me.listen("stop")
            await self._around.pause(0.5)
        await self._me.vanish()

    async def _take_over(self) -> None:
        """The same device connects again while its session is open."""
        await self._connect(self._me)
        await self._hello(self._me)
        await self._connect(self._other)
        await self._me.gone()
        await self._hello(self._other)
        await self._say_something(self._other)

    async def _call(self) -> None:
        """Call another device and be answered; one of the two ends it, in one way or another."""
        me, friend, console = self._me, self._friend, self._around.console
        await self._connect(friend)
        await self._connect(me)
        await self._hello(me)
        assert isinstance(friend.mcp, SoakMcp)
        woken = friend.mcp.woken(5.0)
        woken.addErrback(lambda failure: failure.trap(StepError))
        body = {"caller_mac": me.identity.mac, "target_mac": friend.identity.mac}
        asked = await console.ask("POST", "/api/call/request", {**body, "caller_nickname": "me"})
        if asked.json["status"] != "pending":
            raise StepError(f"call: {asked.json['message']}")
        left = self._around.ends_at - self._around.reactor.seconds()
        if left > ANSWER_TIME and self._around.random.random() < 0.2:
            return  # hang up before it is answered; the gateway remembers such a call for so long
        await woken
        await self._hello(friend)
        answer = await console.ask("POST", "/api/call/accept", {"mac": friend.identity.mac})
        if answer.json["status"] != "bridged":
            raise StepError(f"accept: {answer.json['message']}")
        await self._say_something(me)
        await self._say_something(friend)
        await me.hear(1, 5.0)
        one, other = self._around.random.sample([me, friend], 2)
        if self._around.random.random() < 0.5:
            one.goodbye()
        else:
            await one.vanish()
        await other.expect("goodbye")
        self._around.done["calls"] += 1

    async def _stay(self) -> None:
        """Do nothing for long. At times it is as if the power went: the gateway has to notice."""
        await self._connect(self._me)
        assert isinstance(self._me.mcp, SoakMcp)
        await self._around.pause(3.0)
        self._me.mcp.mute = dead = self._around.random.random() < 0.5
        now = self._around.reactor.seconds
        until = now() + (LONGEST_SILENCE if dead else self._around.random.uniform(0, 60))
        while now() < until and not self._around.over:
            try:
                await self._me.gone(BREATH)
            except TooLate:
                continue
            self._around.done["found dead"] += 1
            return
        if dead and not self._around.over:
            raise StepError("silence: the gateway has not noticed it")

    async def _guess(self) -> None:
        """Come with the wrong key."""
        try:
            await self._around.device(self._number, "Wr0ngKeyWr0ngKey").connect(
                HOST, self._around.mqtt_port
            )
        except StepError:
            return
        raise StepError("guess: let in with a wrong key")
