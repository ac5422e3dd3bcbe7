"""The dashboard as a whole in a real Chromium, with a real gateway behind it. The browser comes
with Debian's chromium and chromium-driver.
"""

from __future__ import annotations

from pathlib import Path

from tests.api_support import DAY, HOST, Console, Device, today, token
from tests.external.browser import PHONE
from tests.external.dashboard import CUT, DashboardTestCase, Relay
from tests.support import SPEECH, GatewayProcess

OTHER_KEY = "Another1Key9"


class LogInTests(DashboardTestCase):
    """Who may see anything."""

    expected = ("status of 401", CUT)

    async def test_tokens(self) -> None:
        """A wrong token is told so; the right one opens the page and is kept nowhere."""
        self.start(TZ="UTC")
        await self.do(self.browser.open, self.port)
        for wrong in (token(today() + 2 * DAY), "令牌"):
            await self.do(self.browser.log_in, wrong)
            await self.until("refusal", lambda: "Wrong token" in self.browser.text("#login-error"))
        await self.do(self.browser.log_in, f" {token(today())}\n"[:-1])
        await self.until("log-in", lambda: self.browser.text("#health") == "ready")
        kept = "return [localStorage.length, sessionStorage.length, document.cookie, location.href]"
        stored = await self.do(self.browser.run, kept)
        self.assertEqual(stored, [0, 0, "", f"http://{HOST}:{self.port}/"])
        await self.do(self.browser.click, "#logout")
        await self.do(self.browser.find, "#token")
        await self.do(self.browser.driver.refresh)
        await self.do(self.browser.find, "#token")

    async def test_expiry(self) -> None:
        """A token that is no good any more leads back to the log-in, which says why."""
        self.start(TZ="UTC")
        path = Path(self.mktemp())
        settings = {"CHAT_SERVERS": self.chat.url, "MQTT_SIGNATURE_KEY": OTHER_KEY}
        other = GatewayProcess(path, {"TZ": "UTC", **settings})
        self.addCleanup(other.kill)
        relay = Relay(self)
        relay.target = self.port
        await self.do(self.browser.enter, relay.port, token(today()))
        relay.target = int(other.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        relay.cut()
        why = "not good any more"
        await self.until("reason", lambda: why in self.browser.text("#login-error"))
        self.assertEqual(await self.do(self.browser.texts, "#main"), [])
        wrong = [line for line in other.lines if "wrong token" in line]
        self.assertLess(len(wrong), 10, "it goes on asking")


class ResumeTests(DashboardTestCase):
    """The stream of events breaks."""

    expected = (CUT,)

    async def test_resume(self) -> None:
        """What happened meanwhile is there afterwards, once; another gateway's follows a gap."""
        self.start(TZ="UTC")
        relay = Relay(self)
        relay.target = self.port
        await self.device(1)
        await self.do(self.browser.enter, relay.port, token(today()))
        await self.do(self.browser.go, "events")
        await self.until("the first", lambda: len(self.connects()) == 1)
        relay.cut()
        await self.device(2)
        await self.until("the second", lambda: len(self.connects()) == 2)
        await self.until("the stream", lambda: self.browser.text("#feed") == "live")
        self.assertEqual(await self.do(self.browser.texts, "[data-kind=gap]"), [])
        other = GatewayProcess(Path(self.mktemp()), {"TZ": "UTC", "CHAT_SERVERS": self.chat.url})
        self.addCleanup(other.kill)
        third = Device(3)
        self.addCleanup(third.disconnect)
        await third.connect(HOST, other.mqtt_port)
        relay.target = int(other.wait_for(r"admin API at 127\.0\.0\.1:(\d+)")[1])
        relay.cut()
        await self.until("the third", lambda: len(self.connects()) == 3)
        kinds = await self.do(
            self.browser.run,
            "return [...document.querySelectorAll('tr[data-kind]')].map((e) => e.dataset.kind)",
        )
        self.assertEqual(kinds[:2], ["connect", "gap"])
        await self.do(self.browser.go, "devices")
        await self.until("its devices", lambda: self.browser.text("#device-count") == "1 of 1")

    def connects(self) -> list[str]:
        return self.browser.texts("tr[data-kind=connect]")


class OverviewTests(DashboardTestCase):
    """The gateway as a whole."""

    async def test_live(self) -> None:
        """Figures follow what devices do; a chat server is drained and resumed; events are told."""
        await self.enter()
        advice = "loopback address"  # which tests have to do with
        await self.until("advice", lambda: advice in self.browser.text("#attention"))
        await self.until("no devices", lambda: self.browser.number("#tile-connections .value") == 0)
        device = await self.device(1)
        await self.until("one", lambda: self.browser.number("#tile-connections .value") == 1)
        await device.hello()
        await self.until("session", lambda: self.browser.number("#tile-sessions .value") == 1)
        device.listen("start", mode="manual")
        speaking = device.speak((SPEECH * 2)[:100])
        await self.until("frames", lambda: self.browser.number("#tile-frames .value") > 5)
        await speaking
        await self.until("loss", lambda: self.browser.text("#tile-loss .value") == "0 %")
        points = "return document.querySelector('#tile-frames polyline').getAttribute('points')"
        self.assertGreater(len((await self.do(self.browser.run, points)).split()), 2)
        kinds = "#recent tr[data-kind=connect], #recent tr[data-kind=session_start]"
        await self.until("events", lambda: len(self.browser.texts(kinds)) == 2)
        await self.servers()

    async def servers(self) -> None:
        """The only server is drained, which makes the gateway not ready, and resumed."""
        await self.until("server", lambda: self.browser.all("#servers tr[data-state=up]"))
        await self.do(self.browser.click, "#servers button")
        await self.until("drained", lambda: self.browser.all("#servers tr[data-state=draining]"))
        self.assertEqual(await self.server_state(), "draining")
        await self.do(self.browser.click, "#servers button")
        await self.until("resumed", lambda: self.browser.all("#servers tr[data-state=up]"))
        self.assertEqual(await self.server_state(), "up")

    async def server_state(self) -> str:
        answer = await Console(self.port).ask("GET", "/v1/backends")
        return str(answer.json["backends"][0]["state"])


class LookTests(DashboardTestCase):
    """Languages, a phone, the dark."""

    async def test_languages(self) -> None:
        """The browser's language at first, the chosen one from then on, on every page."""
        self.start(TZ="UTC")
        device = await self.device(1)
        await self.do(self.browser.speak, "zh-CN,zh")
        await self.do(self.browser.enter, self.port, token(today()))
        await self.until("Chinese", lambda: "连接" in self.browser.text("#tile-connections"))
        lang = "return document.documentElement.lang"
        self.assertEqual(await self.do(self.browser.run, lang), "zh-CN")
        await self.do(self.browser.show, device.client_id)
        self.assertEqual(await self.do(self.browser.text, "#end-session"), "结束会话")
        await self.do(self.browser.choose, "#language", "English")
        await self.until("English", lambda: self.browser.text("#end-session") == "End session")
        self.assertEqual(await self.do(self.browser.run, lang), "en")

    async def test_phone(self) -> None:
        """At 360 px nothing is wider than the screen, nor squeezed to a column of letters."""
        dead = "ws://127.0.0.1:1/xiaozhi/v1/?from=mqtt_gateway"
        servers = {"CHAT_SERVERS": f"{self.chat.url} {dead}", "XZGW_BACKEND_CHECK_SECONDS": "1"}
        self.start(TZ="UTC", **servers)
        await self.do(self.browser.enter, self.port, token(today()))
        device = await self.device(1)
        await device.hello()
        await self.do(self.browser.resize, PHONE)
        await self.do(self.browser.prefer, "dark")
        back = "return getComputedStyle(document.body).backgroundColor"
        self.assertEqual(await self.do(self.browser.run, back), "rgb(14, 18, 23)")
        await self.until("events", lambda: self.browser.all("tr[data-kind=session_start]"))
        for page in ("", "devices", "events"):
            await self.do(self.browser.go, page)
            await self.fits(page or "overview")
        await self.do(self.browser.show, device.client_id)
        await self.do(self.browser.click, "#tools summary")
        await self.fits("device")
        await self.do(self.browser.go, "")
        row = "#servers tr[data-state=failing]"
        failing = await self.do(self.browser.find, row)
        self.assertIn("refused", await self.do(self.browser.text, f"{row} .last_error"))
        self.assertLess(await self.do(lambda: failing.size["height"]), 200)
        button = await self.do(self.browser.find, f"{row} button")
        self.assertLess(await self.do(lambda: button.rect["x"] + button.rect["width"]), PHONE[0])

    async def fits(self, name: str) -> None:
        width = "return document.documentElement.scrollWidth"
        self.assertLessEqual(await self.do(self.browser.run, width), PHONE[0], name)
