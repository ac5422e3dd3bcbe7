"""The dashboard in a real Chromium, with a real gateway and simulated devices behind it. It comes
with Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.protocols.portforward import ProxyFactory

from tests.api_support import DAY, HOST, ApiTestCase, Console, Device, today, token
from tests.external.browser import PHONE, Browser
from tests.support import PATIENCE, SPEECH, GatewayProcess
from xzgw.tools.device_mcp import Tool, ToolFault
from xzgw.wire.messages import Json

P = ParamSpec("P")
T = TypeVar("T")

DEVICES = 1000
AT_ONCE = 50  # devices being connected
QUICK = 200  # ms that the list may take to follow the search
MARKUP = "<img src=x onerror=\"document.title='owned'\">"
OTHER_KEY = "Another1Key9"
CUT = "net::ERR_"  # how complaints begin of what a relay has cut


class Wild:
    """An argument of any schema, taken as it comes."""

    def __init__(self, schema: Json) -> None:
        self._schema = schema

    def schema(self) -> Json:
        return self._schema

    def check(self, name: str, value: object) -> object:
        return value


def _show(arguments: Json) -> str:
    return json.dumps(arguments, sort_keys=True)


def _fail(_arguments: Json) -> str:
    raise ToolFault(f"no {MARKUP}")


# Whatever a device may have made of it.
WILD: Any = {
    "level": Wild({"type": "integer", "minimum": 0, "maximum": 10, "description": MARKUP}),
    "ratio": Wild({"type": "number"}),
    "loud": Wild({"type": "boolean"}),
    "mood": Wild({"enum": ["calm", MARKUP, 3]}),
    "text": Wild({"type": "string"}),
    "list": Wild({"type": "array"}),
    MARKUP: Wild({"type": "string"}),
}
FORM = Tool("self.form", f"Shows {MARKUP}", _show, WILD)
FAILING = Tool(f"self.{MARKUP}", MARKUP, _fail)


class DashboardTestCase(ApiTestCase):
    """A browser. Whatever a test does, its console is empty and it asks nobody but the gateway."""

    timeout = 90  # s; a fifth of it on a machine with nothing else to do
    browser: Browser
    expected: Collection[str] = ()  # what the browser may complain of

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.browser = await deferToThread(Browser, Path(self.mktemp()))
        self.addCleanup(deferToThread, self.browser.close)
        self.addCleanup(self._well_behaved)

    async def do(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Let the browser do something, while the devices go on."""
        result: T = await deferToThread(act, *args, **kwargs)
        return result

    async def enter(self) -> None:
        """Log in at a gateway."""
        self.start(TZ="UTC")
        await self.do(self.browser.enter, self.port, token(today()))

    async def until(self, what: str, look: Callable[[], object]) -> None:
        """Wait until a look at the page finds something true."""
        await self.do(self.browser.until, what, look)

    async def _well_behaved(self) -> None:
        self.assertEqual(await self.do(self.browser.strangers), [])
        self.assertGreater(len(self.browser.urls), 20)
        self.assertEqual(await self.do(self.browser.complaints, self.expected), [])


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


class Relay:
    """A way to the gateway that can be cut."""

    def __init__(self, test: DashboardTestCase) -> None:
        self.target = 0
        self._factory = _RelayFactory(self)
        listening: Any = reactor
        port = listening.listenTCP(0, self._factory, interface=HOST)
        test.addCleanup(self.cut)
        test.addCleanup(port.stopListening)
        self.port: int = port.getHost().port

    def cut(self) -> None:
        """End all connections at once."""
        for protocol in self._factory.protocols:
            protocol.transport.abortConnection()
        self._factory.protocols.clear()


class _RelayFactory(ProxyFactory):
    noisy = False

    def __init__(self, relay: Relay) -> None:
        super().__init__(HOST, 0)
        self.protocols: list[Any] = []
        self._relay = relay

    def buildProtocol(self, addr: Any) -> Any:
        self.port = self._relay.target
        protocol = super().buildProtocol(addr)
        self.protocols.append(protocol)
        return protocol


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


class DeviceTests(DashboardTestCase):
    """One device's page."""

    async def test_session(self) -> None:
        """The page draws what is said, pushes an alert that arrives, and ends the session."""
        await self.enter()
        device = await self.device(1)
        await device.hello()
        await self.do(self.browser.show, device.client_id)
        device.listen("start", mode="manual")
        await device.speak(SPEECH)
        device.listen("stop")
        await device.hear(1, PATIENCE)
        up, down = ".legend.up b", ".legend.down b"
        packets = "#audio tbody td"
        await self.until("packets up", lambda: self.browser.number(packets) == len(SPEECH))
        await self.until("packets down", lambda: self.browser.number(down) > 5)
        self.assertGreaterEqual(await self.do(self.browser.number, up), 0)
        self.assertEqual(await self.do(lambda: len(self.browser.all(".plot canvas"))), 3)
        self.assertIn(device.id, await self.do(self.browser.text, "#facts"))
        await self.do(self.browser.type, "#alert [name=message]", "睡觉了 <b>now</b>")
        await self.do(self.browser.choose, "#alert [name=emotion]", "sleepy")
        await self.do(self.browser.click, "#alert button")
        alert = await device.expect("alert", PATIENCE)
        self.assertEqual((alert["message"], alert["emotion"]), ("睡觉了 <b>now</b>", "sleepy"))
        await self.do(self.browser.click, "#end-session")
        await device.expect("goodbye", PATIENCE)
        await self.until("idle", lambda: self.browser.text("#device-state") == "idle")
        end = "#device-events tr[data-kind=session_end]"
        await self.until("event", lambda: "operator" in self.browser.text(end))
        self.assertFalse(await self.do(lambda: self.browser.find("#end-session").is_enabled()))


class TraceTests(DashboardTestCase):
    """A device is recorded."""

    expected = ("status of 404",)

    async def test_trace(self) -> None:
        """What happens after the button was pressed is in the file that is saved."""
        await self.enter()
        device = await self.device(1)
        await self.do(self.browser.show, device.client_id)
        start, save, _, forget = (f"#trace button:nth-child({place})" for place in range(1, 5))
        await self.do(self.browser.click, start)
        await self.until("notice", lambda: "Recording" in self.browser.text("#notices"))
        await device.hello()
        await self.do(self.browser.click, save)
        await self.until("file", lambda: list(self.browser.downloads.glob("*.jsonl")))
        (saved,) = self.browser.downloads.glob("*.jsonl")
        lines = saved.read_text("utf-8").splitlines()
        self.assertGreater(len([json.loads(line) for line in lines]), 1)
        self.assertNotIn(device.told("hello")[0]["udp"]["key"], "".join(lines))
        await self.do(self.browser.click, forget)
        await self.until("forgotten", lambda: "forgotten" in self.browser.text("#notices"))
        path = f"/v1/devices/{device.client_id}/trace"
        self.assertEqual((await Console(self.port).ask("GET", path)).status, 404)


class LeavingTests(DashboardTestCase):
    """A device is sent away."""

    expected = ("status of 404",)

    async def test_disconnect(self) -> None:
        """It takes two presses; the page waits for the device, and shows it when it is back."""
        await self.enter()
        device = await self.device(1)
        await self.do(self.browser.show, device.client_id)
        await self.do(self.browser.click, "#disconnect")
        self.assertEqual(
            await self.do(self.browser.text, "#disconnect"), "Press again to disconnect"
        )
        await device.ping()
        await self.do(self.browser.click, "#disconnect")
        await device.gone(PATIENCE)
        await self.until("gone", lambda: self.browser.text("#device-state") == "not connected")
        await device.connect(HOST, self.gateway.mqtt_port)
        await self.until("back", lambda: self.browser.text("#device-state") == "idle")


class ToolTests(DashboardTestCase):
    """Tools are called through forms made from what the device says of them."""

    expected = ("status of 502",)

    async def test_forms(self) -> None:
        """Values arrive as what they are; what is out of range does not go out."""
        await self.enter()
        device = await self.device(1, FORM, FAILING)
        await self.do(self.browser.show, device.client_id)
        volume = await self.open("self.audio_speaker.set_volume")
        await self.do(self.browser.type, f"{volume} [name=volume]", "101")
        await self.do(self.browser.click, f"{volume} button")
        self.assertEqual(device.mcp.calls, [])
        await self.do(self.browser.type, f"{volume} [name=volume]", "35")
        await self.do(self.browser.click, f"{volume} button")
        await self.until("result", lambda: self.browser.text(f"{volume} pre") == "true")
        self.assertEqual(device.mcp.calls, [("self.audio_speaker.set_volume", {"volume": 35})])
        status = await self.open("self.get_device_status")
        await self.do(self.browser.click, f"{status} button")
        await self.until("volume", lambda: '"volume": 35' in self.browser.text(f"{status} pre"))
        await self.every_kind(device)
        await self.hostile()

    async def every_kind(self, device: Device) -> None:
        """All kinds of fields, then what is not JSON."""
        form = await self.open("self.form")
        for name, text in (("level", "7"), ("ratio", "0.5"), ("text", "a b"), ("list", "[1, {}]")):
            await self.do(self.browser.type, f"{form} [name={name}]", text)
        await self.do(self.browser.choose, f"{form} [name=loud]", "false")
        await self.do(self.browser.choose, f"{form} [name=mood]", "3")
        await self.do(self.browser.click, f"{form} button")
        wanted = {
            "level": 7,
            "ratio": 0.5,
            "text": "a b",
            "list": [1, {}],
            "loud": False,
            "mood": 3,
        }
        await device.mcp.called(3)
        await self.until("result", lambda: self.browser.text(f"{form} pre").startswith("{"))
        shown = json.loads(await self.do(self.browser.text, f"{form} pre"))
        self.assertEqual(shown, {**wanted, MARKUP: ""})
        await self.do(self.browser.type, f"{form} [name=list]", "[1,")
        await self.do(self.browser.click, f"{form} button")
        await self.until("error", lambda: "list is not JSON" in self.browser.text(f"{form} pre"))
        self.assertEqual(len(device.mcp.calls), 3)

    async def hostile(self) -> None:
        """Markup in names, descriptions, errors and client ids is text; nothing comes of it."""
        failing = await self.open(FAILING.name)
        await self.do(self.browser.click, f"{failing} button")
        await self.until("error", lambda: MARKUP in self.browser.text(f"{failing} pre"))
        self.assertIn(MARKUP, await self.do(self.browser.text, f"{failing} summary"))
        stranger = Device(2)
        stranger.identity = replace(stranger.identity, group=MARKUP)
        self.addCleanup(stranger.disconnect)
        await stranger.connect(HOST, self.gateway.mqtt_port)
        await self.do(self.browser.show, stranger.client_id)
        await self.harmless()
        self.assertIn(stranger.client_id, await self.do(self.browser.texts, "#facts td"))
        await self.do(self.browser.go, "devices")
        groups = ".devices td.group"
        await self.until("its group", lambda: MARKUP in self.browser.texts(groups))
        await self.harmless()

    async def harmless(self) -> None:
        self.assertEqual(await self.do(self.browser.texts, "main img"), [])
        self.assertNotEqual(await self.do(lambda: self.browser.driver.title), "owned")

    async def open(self, name: str) -> str:
        """Unfold a tool; returns what finds it."""
        selector = f'[data-tool="{_quoted(name)}"]'
        await self.do(self.browser.click, f"{selector} summary")
        await self.do(self.browser.find, f"{selector} button")
        return selector


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class ManyTests(DashboardTestCase):
    """A thousand devices."""

    async def test_list(self) -> None:
        """All are listed with few elements, and the search follows each key at once."""
        self.start(TZ="UTC", XZGW_MAX_CONNECTS_PER_SECOND="100000")
        many = [Device(number) for number in range(1, DEVICES + 1)]
        self.devices += many
        self.addCleanup(_each, many, lambda device: device.disconnect())
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


def _each(devices: list[Device], act: Callable[[Device], Deferred[Any]]) -> Deferred[None]:
    async def some_at_a_time() -> None:
        for start in range(0, len(devices), AT_ONCE):
            await gatherResults([act(device) for device in devices[start : start + AT_ONCE]])

    return Deferred.fromCoroutine(some_at_a_time())


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
        """At 360 px nothing is wider than the screen."""
        await self.enter()
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

    async def fits(self, name: str) -> None:
        width = "return document.documentElement.scrollWidth"
        self.assertLessEqual(await self.do(self.browser.run, width), PHONE[0], name)
