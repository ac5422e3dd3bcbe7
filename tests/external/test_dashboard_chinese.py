"""What the gateway says in whole sentences, on the dashboard's Chinese page, in a real Chromium."""

from __future__ import annotations

from tests.api_support import Console, today, token
from tests.external.dashboard import DashboardTestCase

QUESTION = "/udp 开放了吗？设备能访问 127.0.0.1 吗？如果不能，请把 PUBLIC_IP 设为它能访问的地址"
UNKNOWN = """
const done = arguments[0];
import("./dashboard/sayings.js").then(({ said }) => done([
  said("English", [{ id: "draining", values: {} }, { id: "not yet known", values: {} }]),
  said("English", [{ id: "constructor", values: {} }]),
  said("English", []),
  said("English"),
  said("English", [{ id: "no_session", values: { seconds: 90 } }, { id: "draining", values: {} }]),
]));
"""


class SentenceTests(DashboardTestCase):
    """A browser that prefers Chinese."""

    async def test_sentences(self) -> None:
        """Diagnosis, checklist, events, warnings and troubles; the API stays English."""
        self.start(TZ="UTC")
        device = await self.device(1)
        await device.hello()  # and sends no audio
        await self.do(self.browser.speak, "zh-CN,zh")
        await self.do(self.browser.enter, self.port, token(today()))
        warning = "'127.0.0.1' 是回环地址，其他机器无法访问；设备需要能访问本机的地址"
        await self.until("warning", lambda: self.attention(warning))
        await self.trouble()
        await self.do(self.browser.show, device.client_id)
        await self.until("diagnosis", lambda: QUESTION in self.browser.text("#sentence"))
        sentence = await self.do(self.browser.text, "#sentence")
        self.assertRegex(sentence, r"^hello 在 \d+ 秒前得到应答，却没有收到这台设备的 UDP：\d+/udp")
        await self.checklist(device.client_id)
        await self.do(self.browser.choose, "#language", "English")
        await self.until("English", lambda: "reachable from it?" in self.browser.text("#sentence"))

    def attention(self, words: str) -> bool:
        return any(words in line for line in self.browser.texts("#attention li"))

    async def trouble(self) -> None:
        """The only chat server is drained, for a while."""
        console, body = Console(self.port), {"url": self.chat.url}
        await console.ask("POST", "/v1/backends/drain", body)
        trouble = f"所有聊天服务器都已停止分配，或最近失败了：{self.chat.url}：已停止分配"
        await self.until("trouble", lambda: self.attention(trouble))
        await console.ask("POST", "/v1/backends/resume", body)

    async def checklist(self, client_id: str) -> None:
        """Each item has its Chinese text, and so has the event."""
        texts = await self.do(self.browser.texts, "#diagnosis .checks .text")
        self.assertRegex(texts[0], r"^来自 127\.0\.0\.1，已连接 ")
        self.assertRegex(texts[1], r"^\d+ 秒前收到$")
        self.assertEqual(texts[2], f"已连上：{self.chat.url}")
        self.assertIn(QUESTION, texts[4])
        self.assertEqual((texts[3], *texts[5:]), ("已应答", "还没有音频", "还没有 tts start"))
        events = "#device-events [data-kind=diagnosis] .details"
        await self.until("event", lambda: QUESTION in self.browser.text(events))
        answer = await Console(self.port).ask("GET", f"/v1/devices/{client_id}")
        self.assertIn("reachable from it?", answer.json["diagnosis"]["sentence"])

    async def test_unknown(self) -> None:
        """A sentence of a newer gateway, of which not all is known, is told in English."""
        self.start(TZ="UTC")
        await self.do(self.browser.speak, "zh-CN,zh")
        await self.do(self.browser.enter, self.port, token(today()))
        told = await self.do(self.browser.run_async, UNKNOWN)
        known = "1 分 30 秒前的 hello 没有建立会话：网关正在排空"
        self.assertEqual(told, ["English"] * 4 + [known])
