"""Two simulated devices call each other through the admin API of `twistd -n xzgw`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import maybeDeferred

from tests.api_support import HOST, ApiTestCase, Console, Device
from tests.support import PATIENCE, SPEECH
from xzgw.tools.device_voice import Heard, Voice
from xzgw.wire.messages import Json

WAKE_UP = "self.remote_wakeup"
# tests/vectors/README.md: the packet of silence that follows silence.
SILENCE = bytes.fromhex("5801f25e7236921f05fa478d692c8f200afbfb2b20")


def voice(device: Device) -> Voice:
    assert device.voice is not None
    return device.voice


def timestamps(device: Device) -> range:
    """What each device's speech is stamped with, so that nothing looks like the other's: ms."""
    start = 1000 * int(device.identity.mac[-1])
    return range(start, start + 60 * len(SPEECH), 60)


class CallTests(ApiTestCase):
    """A caller, a callee, and a third one."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.start()
        self.console = Console(self.port)
        self.caller = await self.device(1)
        self.callee = await self.device(2)

    async def request(self, caller: Device, target: Device) -> Json:
        """The answer to the call request; the body's MACs are in upper case."""
        body = {
            "caller_mac": caller.identity.mac.upper(),
            "target_mac": target.identity.mac.upper(),
            "caller_nickname": "小明",
        }
        answer = await self.console.ask("POST", "/api/call/request", body)
        self.assertEqual(answer.status, 200)
        return dict(answer.json)

    async def accept(self, device: Device) -> str:
        body = {"mac": device.identity.mac.upper()}
        answer = await self.console.ask("POST", "/api/call/accept", body)
        self.assertEqual(answer.status, 200)
        return str(answer.json["status"])

    async def wait_for_answer(self) -> None:
        """The caller has called; the callee has been woken and says hello."""
        woken = self.callee.mcp.called(len(self.callee.mcp.calls) + 1)
        await self.caller.hello()
        self.assertEqual((await self.request(self.caller, self.callee))["status"], "pending")
        await woken
        await self.callee.hello()

    async def bridge(self) -> None:
        """The whole way into a call."""
        await self.wait_for_answer()
        self.assertEqual(await self.accept(self.callee), "bridged")
        await self.told_accepted()

    async def told_accepted(self) -> None:
        """The caller is told that it is answered, and by whom."""
        accepted = await self.caller.expect("call_accepted")
        self.assertEqual(accepted, {"type": "call_accepted", "from": self.callee.identity.mac})

    def talk(self) -> None:
        """Both say all of the speech at the same time, the callee from its end to its start."""
        mine, theirs = voice(self.caller), voice(self.callee)
        stamps = zip(timestamps(self.caller), timestamps(self.callee), strict=True)
        for (here, there), say, answer in zip(stamps, SPEECH, reversed(SPEECH), strict=True):
            theirs.send(answer, there)
            mine.send(say, here)

    def assertHeard(self, heard: Iterable[Heard], speech: list[bytes], stamps: range) -> None:
        """Each packet of the speech, in order, byte for byte, with its timestamp."""
        got = list(heard)
        self.assertEqual([each.opus for each in got], speech)
        self.assertEqual([each.timestamp for each in got], list(stamps))

    def assertNoGoodbye(self, *devices: Device) -> None:
        for device in devices:
            self.assertEqual(device.told("goodbye"), [])

    async def state(self, device: Device) -> str:
        answer = await self.console.ask("GET", f"/v1/devices/{device.client_id}")
        return str(answer.json["state"])

    async def test_call(self) -> None:
        """Wake-up, silence while waiting, then each hears the other: intact, in order, under its
        own key, with sequences that go on rising from its own."""
        await self.caller.hello()
        woken = self.callee.mcp.called(1)
        answer = await self.request(self.caller, self.callee)
        self.assertEqual(sorted(answer), ["message", "status"])
        self.assertEqual(answer["status"], "pending")
        await woken
        reason = "[device_call]您收到来自小明的来电，是否接听？"
        wake_up = (WAKE_UP, {"reason": reason, "action": "listen"})
        self.assertEqual(self.callee.mcp.calls, [wake_up])
        await self.chat.empty()  # the caller's server is not needed any more
        for number, opus in enumerate(SPEECH[:10]):
            voice(self.caller).send(opus, number)
        await self.caller.hear(10, PATIENCE)
        self.assertHeard(voice(self.caller).heard, [SILENCE] * 10, range(10))

        await self.callee.hello()
        self.assertEqual(await self.accept(self.callee), "bridged")
        await self.told_accepted()
        await self.chat.empty()  # nor is the callee's
        self.assertEqual(await self.state(self.caller), "in_call")
        self.assertEqual(await self.state(self.callee), "in_call")
        self.talk()
        await self.caller.hear(10 + len(SPEECH), PATIENCE)
        await self.callee.hear(len(SPEECH), PATIENCE)
        told = voice(self.caller).heard[10:]
        self.assertHeard(told, SPEECH[::-1], timestamps(self.callee))
        self.assertHeard(voice(self.callee).heard, SPEECH, timestamps(self.caller))
        for device, count in ((self.caller, 10 + len(SPEECH)), (self.callee, len(SPEECH))):
            sequences = [each.sequence for each in voice(device).heard]
            self.assertEqual(sequences, list(range(1, count + 1)))
            self.assertFalse(voice(device).dropped)
        self.assertNoGoodbye(self.caller, self.callee)
        self.assertNoForeignKey()

    def assertNoForeignKey(self) -> None:
        """No device was ever told a key of the other's."""
        for one, other in ((self.caller, self.callee), (self.callee, self.caller)):
            told = b"".join(one.received).decode()
            for key in other.secrets():
                self.assertNotIn(key, told)

    async def test_hanging_up(self) -> None:
        """However one of them leaves, the other gets a goodbye with its own session id, the one who
        left gets none, and both can call again."""
        ways: dict[str, Callable[[Device], Any]] = {
            "goodbye": Device.goodbye,
            "hello": Device.hello,
            "disconnect": Device.disconnect,
            "reset": Device.vanish,
        }
        for name, leave in ways.items():
            for which in ("caller", "callee"):
                await self.hangs_up(f"{name} of the {which}", which, leave)

    async def hangs_up(self, case: str, which: str, leave: Callable[[Device], Any]) -> None:
        caller, callee = self.caller, self.callee
        leaver, other = (caller, callee) if which == "caller" else (callee, caller)
        await self.bridge()
        own, before = other.id, len(leaver.told("goodbye"))
        await maybeDeferred(leave, leaver)
        goodbye = await other.expect("goodbye")
        self.assertEqual(goodbye, {"type": "goodbye", "session_id": own}, case)
        self.assertEqual(await self.state(other), "idle", case)
        self.assertEqual(len(leaver.told("goodbye")), before, case)
        if leaver.session is not None:  # it said hello and talks to its server
            self.assertEqual(await self.state(leaver), "live", case)
            leaver.goodbye()
        elif leave in (Device.disconnect, Device.vanish):
            await leaver.connect(HOST, self.gateway.mqtt_port)
        await self.chat.empty()

    async def test_operator(self) -> None:
        """When an operator ends one session, both get their goodbye."""
        await self.bridge()
        ids = [self.caller.id, self.callee.id]
        path = f"/v1/devices/{self.caller.client_id}/session"
        self.assertEqual((await self.console.ask("DELETE", path)).status, 204)
        for device, own in zip((self.caller, self.callee), ids, strict=True):
            goodbye = await device.expect("goodbye")
            self.assertEqual(goodbye["session_id"], own)

    async def test_mutual(self) -> None:
        """Each asking for the other is an answer: the second request bridges."""
        await self.wait_for_answer()
        self.assertEqual((await self.request(self.callee, self.caller))["status"], "bridged")
        await self.told_accepted()
        self.talk()
        await self.caller.hear(len(SPEECH), PATIENCE)
        await self.callee.hear(len(SPEECH), PATIENCE)
        self.assertHeard(voice(self.caller).heard, SPEECH[::-1], timestamps(self.callee))
        self.assertHeard(voice(self.callee).heard, SPEECH, timestamps(self.caller))
        self.assertEqual(self.caller.mcp.calls, [], "nobody wakes one who has called")

    async def test_busy(self) -> None:
        """A third device gets "busy", whichever of the two it calls and whether or not they talk
        already; its own session goes on."""
        third = await self.device(3)
        await third.hello()
        await self.wait_for_answer()
        for bridged in (False, True):
            if bridged:
                self.assertEqual(await self.accept(self.callee), "bridged")
            for target in (self.caller, self.callee):
                answer = await self.request(third, target)
                self.assertEqual(answer, {"status": "error", "message": "busy"})
        self.assertEqual(await self.state(third), "live")
        self.assertEqual(len(self.callee.mcp.calls), 1)
        self.talk()
        await self.callee.hear(len(SPEECH), PATIENCE)
        self.assertNoGoodbye(self.caller, self.callee, third)

    async def test_nobody_there(self) -> None:
        """Calling who is not connected is "offline"; accepting what nobody asked "no_pending", and
        after the caller has left "caller_gone"."""
        await self.caller.hello()
        absent = Device(99)
        self.assertEqual((await self.request(self.caller, absent))["status"], "offline")
        self.assertEqual(await self.accept(self.caller), "no_pending")
        self.assertEqual(await self.state(self.caller), "live")
        await self.wait_for_answer()
        await self.caller.vanish()
        self.gateway.wait_for(f"disconnect: {self.caller.client_id}")
        self.assertEqual(await self.accept(self.callee), "caller_gone")
        self.assertEqual(await self.accept(self.callee), "no_pending")
        self.assertEqual(await self.state(self.callee), "live")
