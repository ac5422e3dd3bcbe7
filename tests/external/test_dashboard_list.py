"""A thousand devices on the dashboard, in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.api_support import HOST, Device, today, token
from tests.external.dashboard import DashboardTestCase

DEVICES = 1000
AT_ONCE = 50  # devices being connected
QUICK = 200  # ms that the list may take to follow the search

# Types key by key; tells the ms of the slowest from key to picture.
TYPE_AND_MEASURE = """
const [text, done] = arguments;
const field = document.getElementById("search");
const frame = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
(async () => {
  let slowest = 0;
  for (let i = text.length ? 1 : 0; i <= text.length; i++) {
    const begun = performance.now();
    field.value = text.slice(0, i);
    field.dispatchEvent(new Event("input"));
    await frame();
    slowest = Math.max(slowest, performance.now() - begun);
  }
  done(slowest);
})();
"""


class ManyTests(DashboardTestCase):
    """A thousand devices."""

    async def test_list(self) -> None:
        """All are listed with few elements, and the search follows each key at once."""
        many = [Device(number) for number in range(1, DEVICES + 1)]
        # Only after the page has been judged, or it complains of a device that is gone.
        self.addCleanup(_each, many, lambda device: device.disconnect())
        self.start(TZ="UTC", XZGW_MAX_CONNECTS_PER_SECOND="100000")
        self.devices += many
        port = self.gateway.mqtt_port
        await _each(many, lambda device: device.connect(HOST, port))
        await many[500].hello()
        await self.do(self.browser.enter, self.port, token(today()))
        await self.do(self.browser.go, "devices")
        every = f"{DEVICES:,} of {DEVICES:,}"
        await self.until("devices", lambda: self.browser.text("#device-count") == every)
        await self.scroll(many)
        await self.search(many[500])

    async def scroll(self, many: list[Device]) -> None:
        """To the end, where the last one is; there are never more rows than fit, and some."""
        bottom = "const list = document.getElementById('device-list'); list.scrollTop = 1e9"
        last = max(device.client_id for device in many)
        row = f'.devices a[title="{last}"]'
        await self.do(self.browser.run, bottom)
        await self.until("the last", lambda: self.browser.all(row))
        self.assertLess(await self.do(lambda: len(self.browser.all(".devices tr"))), 60)
        count = "return document.querySelectorAll('*').length"
        self.assertLess(await self.do(self.browser.run, count), 1500)

    async def search(self, live: Device) -> None:
        """By the end of a MAC, key by key; then by state."""
        end = live.identity.mac[-5:].replace(":", "-")
        slowest = await self.do(self.browser.run_async, TYPE_AND_MEASURE, end)
        self.assertLess(slowest, QUICK)
        await self.do(self.browser.find, f'.devices a[title="{live.client_id}"]')
        self.assertLess(await self.do(self.browser.number, "#device-count"), 20)
        await self.do(self.browser.run_async, TYPE_AND_MEASURE, "")
        await self.do(self.browser.choose, "#state", "live")
        await self.until("one", lambda: self.browser.number("#device-count") == 1)
        await self.do(self.browser.click, ".devices tbody tr:not(.spacer) td.group")
        await self.until("its page", lambda: self.browser.text("h1") == live.identity.mac)


def _each(devices: list[Device], act: Callable[[Device], Deferred[Any]]) -> Deferred[None]:
    async def some_at_a_time() -> None:
        for start in range(0, len(devices), AT_ONCE):
            await gatherResults([act(device) for device in devices[start : start + AT_ONCE]])

    return Deferred.fromCoroutine(some_at_a_time())
