"""Makes docs/images from the running page, for `make screenshots`. It only looks like a test."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.api_support import Device, today, token
from tests.external.browser import PHONE
from tests.external.dashboard import DashboardTestCase
from tests.support import ROOT, SECRET, SPEECH
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.pacing import paced

IMAGES = ROOT / "docs" / "images"
DEVICES = 48
TALKERS = 7
SILENT = 7  # the place in the list of a device whose audio comes from nowhere
LOSS = 0.03  # of the packets
WIDE = (1280, 860)
TALL = (1280, 1120)
SEEN = 75  # s of talk that the plots show


class Scene(DashboardTestCase):
    """Some devices, a few of which talk over a network that loses packets."""

    timeout = 240

    async def test_pictures(self) -> None:
        """All pictures of the documents."""
        second = EchoServer(reactor, secret=SECRET)
        await second.listen()
        self.addCleanup(second.stop)
        self.start(TZ="UTC", CHAT_SERVERS=f"{self.chat.url} {second.url}")
        devices = [await self.device(number) for number in range(1, DEVICES + 1)]
        talkers = devices[:TALKERS]
        await self.do(self.browser.enter, self.port, token(today()))
        self.over = False
        talking = [Deferred.fromCoroutine(self.talk(device)) for device in talkers]
        await devices[SILENT].hello()
        devices[SILENT].listen("start", mode="auto")
        await self.pictures(talkers[0])
        self.over = True
        await gatherResults(talking)

    async def pictures(self, device: Device) -> None:
        """One after the other, when there is enough to see."""
        client: Any = self.browser
        await self.do(client.show, device.client_id)
        await self.do(client.click, '[data-tool="self.get_device_status"] summary')
        await self.do(client.click, '[data-tool="self.get_device_status"] button')
        full = f"return performance.now() > {SEEN * 1000}"
        await self.do(client.until, "enough to see", lambda: client.run(full), 2 * SEEN)
        await self.take("device", TALL)
        await self.do(client.prefer, "dark")
        await self.take("device-dark", TALL)
        await self.take("phone", PHONE)
        await self.do(client.prefer, "light")
        await self.do(client.go, "devices")
        await self.do(client.find, ".devices td.problem")
        await self.take("devices", WIDE)
        await self.do(client.go, "")
        await self.do(client.find, "#servers tr[data-state]")
        await self.take("overview", WIDE)

    async def take(self, name: str, size: tuple[int, int]) -> None:
        await self.do(self.browser.resize, size)
        settled = "requestAnimationFrame(() => setTimeout(arguments[0], 1200))"
        await self.do(self.browser.run_async, settled)
        await self.do(self.browser.run, "window.scrollTo(0, 0)")
        await self.do(self.browser.photograph, Path(IMAGES / f"{name}.png"))

    async def talk(self, device: Device) -> None:
        """Turn after turn, with packets missing here and there."""
        chance = Random(device.client_id)
        await device.hello()
        voice: Any = device.voice

        def say(opus: bytes) -> None:
            if chance.random() < LOSS:
                voice.sent_at.append(0.0)  # its sequence was used, but it never came
            voice.send(opus)

        while not self.over:
            device.listen("start", mode="manual")
            await device.ping()
            await paced(reactor, SPEECH[: chance.randrange(24, 60)], say, burst=0)
            device.listen("stop")
            await device.expect("tts", 15, state="stop")
