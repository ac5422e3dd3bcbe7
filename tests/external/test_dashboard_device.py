"""The dashboard's pages of devices, in a real Chromium with simulated devices behind them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.api_support import HOST, Console, Device
from tests.external.dashboard import DashboardTestCase
from tests.support import PATIENCE, SPEECH
from xzgw.tools.device_mcp import Tool, ToolFault
from xzgw.wire.messages import Json

MARKUP = "<img src=x onerror=\"document.title='owned'\">"
MARKED = "<svg/onload=document.title='owned'>"  # which a client id may have in it


# Keeps the plots that are made from now on, and tells what time the latest one shows.
KEEP_PLOTS = """
const make = window.uPlot;
window.plots = [];
window.uPlot = function (...given) {
  const plot = new make(...given);
  window.plots.push(plot);
  return plot;
};
"""
SHOWN_TIME = """
const { min, max } = window.plots.at(-1)?.scales.x ?? {};
return [Date.now() / 1000 - max, max - min];
"""


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

    async def test_no_audio(self) -> None:
        """Plots without anything to show are those of the last minute."""
        await self.enter()
        device = await self.device(1)
        await self.do(self.browser.run, KEEP_PLOTS)
        await self.do(self.browser.show, device.client_id)
        await self.until("plots", lambda: len(self.browser.all(".plot canvas")) == 3)
        age, seconds = await self.do(self.browser.run, SHOWN_TIME)
        self.assertLess(age, 30)
        self.assertEqual(round(seconds), 60)
        self.assertIn("No session", await self.do(self.browser.text, "#quality"))


class TraceTests(DashboardTestCase):
    """A device is recorded."""

    async def test_trace(self) -> None:
        """What happens after the button was pressed is in the file that is saved."""
        await self.enter()
        device = await self.device(1)
        await self.do(self.browser.show, device.client_id)
        self.assertEqual(await self.do(self.browser.text, "#trace form + p"), "")
        start, save, _, forget = (f"#trace button:nth-child({place})" for place in range(1, 5))
        await self.do(self.browser.click, start)
        await self.until("notice", lambda: "Recording" in self.browser.text("#notices"))
        state = "Recording until "
        await self.until("state", lambda: self.browser.text("#trace form + p").startswith(state))
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
        self.assertFalse(await self.do(lambda: self.browser.find("#disconnect").is_enabled()))
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
        stranger.identity = replace(stranger.identity, group=MARKED)
        self.addCleanup(stranger.disconnect)
        await stranger.connect(HOST, self.gateway.mqtt_port)
        await self.do(self.browser.show, stranger.client_id)
        await self.harmless()
        self.assertIn(stranger.client_id, await self.do(self.browser.texts, "#facts td"))
        await self.do(self.browser.go, "devices")
        groups = ".devices td.group"
        await self.until("its group", lambda: MARKED in self.browser.texts(groups))
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
