"""What devices do all day: each life is a loop of visits to the gateway, at random.

Whatever a visit comes to, the device is gone when it is over. A step that fails is counted, as it
may: chat servers are killed, and other devices interfere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater

from tests.api_support import HOST
from tests.soak.surroundings import Dead, SoakMcp, Surroundings
from tests.support import KEY, PATIENCE, SPEECH
from xzgw.core.calls import ANSWER_TIME
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import StepError

LONGEST_STAY = 60.0  # s
LONGEST_TURN = 40  # packets
BREATH = 1.0  # s


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
            self._fall_silent: 2,
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
        """Do nothing for long."""
        await self._connect(self._me)
        await self._around.wait(LONGEST_STAY)

    async def _fall_silent(self) -> None:
        """As if the power went: the gateway has to notice by what its CONNECT promised."""
        around, keep_alive = self._around, self._around.random.randint(1, 4)
        credentials = replace(self._me.identity.credentials(KEY), keep_alive=keep_alive)
        endpoint = TCP4ClientEndpoint(around.reactor, HOST, around.mqtt_port)
        try:
            dead = await connectProtocol(endpoint, Dead(credentials))
        except ConnectError as error:
            raise StepError(f"connecting: {error}") from None
        around.done["connections"] += 1
        began = around.reactor.seconds()
        while not dead.gone and around.reactor.seconds() < began + 1.5 * keep_alive + PATIENCE:
            await deferLater(around.reactor, 0.2)
        if not dead.gone:
            around.fault("a device without a sign of life was not noticed")
            dead.transport.abortConnection()

    async def _guess(self) -> None:
        """Come with the wrong key."""
        try:
            await self._around.device(self._number, "Wr0ngKeyWr0ngKey").connect(
                HOST, self._around.mqtt_port
            )
        except StepError:
            return
        raise StepError("guess: let in with a wrong key")
