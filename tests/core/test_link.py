"""One connection to a server: what it says becomes events, or is dropped and counted."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeBackendLink, warnings
from xzgw.core.channel import AudioChannel
from xzgw.core.hello import MAX_HELLO
from xzgw.core.link import MAX_TEXT, Link
from xzgw.core.mcp import McpClient
from xzgw.core.session_types import (
    BackendEvent,
    BackendHello,
    BackendLost,
    BackendOpened,
    BackendText,
)
from xzgw.wire import messages
from xzgw.wire.audio import MAX_OPUS, Cipher, server_audio

KEY = bytes(range(16))
SSRC = 0x01020304
OPUS = bytes([0x58]) + bytes(40)
DEVICE = ("1.2.3.4", 40000)
LIST_TOOLS = b'{"type":"mcp","session_id":"s1","payload":%s}'

BAD_TEXTS = {
    "not JSON": "认证失败".encode(),
    "not UTF-8": b'{"type":"tts","text":"\xff"}',
    "not a JSON object": b'["type","tts"]',
    "nested too deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
}


class LinkTestCase(SynchronousTestCase):
    """Link number 7, its server, and what came of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[BackendEvent] = []
        self.news: list[object] = []  # events and the news of the loss, in order
        self.to_device: list[bytes] = []
        self.tools = McpClient(
            self.to_device.append,
            self.clock,
            capabilities={},
            client_info={},
            max_tools_count=8,
            first_id=0,
        )
        self.link = Link(
            number=7,
            name="device at server",
            feed=self._feed,
            tools=self.tools,
            on_lost=lambda link, reason: self.news.append((link, reason)),
        )
        self.server = FakeBackendLink("ws://a/", {}, self.link)
        self.link.attach(self.server)
        self.datagrams: list[tuple[bytes, tuple[str, int]]] = []

    def tearDown(self) -> None:
        self.tools.close("test over")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def _feed(self, event: BackendEvent) -> None:
        self.events.append(event)
        self.news.append(event)

    def list_tools(self) -> None:
        """The gateway learns that the device has one tool."""
        self.tools.start()
        for result in ({}, {"tools": [{"name": "self.light"}]}):
            request = messages.parse(self.to_device[-1])["payload"]
            self.tools.reply({"jsonrpc": "2.0", "id": request["id"], "result": result})
        self.assertTrue(self.tools.complete)

    def open_channel(self) -> AudioChannel:
        """The device has a session and was heard."""
        channel = AudioChannel(
            key=KEY,
            ssrc=SSRC,
            peer_ip=DEVICE[0],
            frame_ms=60,
            now=lambda: 0.0,
            uplink=self.link.send_audio,
            send=lambda datagram, address: self.datagrams.append((datagram, address)),
        )
        channel.receive(Cipher(KEY, SSRC).seal(1, 0, OPUS), DEVICE)
        self.link.play_to(channel)
        return channel


class TextTests(LinkTestCase):
    """Texts from the server."""

    def test_texts_pass_as_they_came(self) -> None:
        """Odd numbers, spaces, key order, escapes: the event has the very bytes."""
        texts = [
            b'{"type":"tts","state":"start"}',
            b' { "b" : 1.0, "a":1E2, "type":"llm", "e":"\\u5c0f\\/", "b":-0 } \n',
            b'{"type":"iot","n":123456789012345678901234567890}',
            b'{"no":"type"}',
            b'{"type":["hello"]}',
            b"{}",
        ]
        for text in texts:
            self.server.says(text)
        self.assertEqual(self.events, [BackendText(7, text) for text in texts])
        self.assertEqual(self.link.refused_texts, 0)

    def test_opened_and_lost(self) -> None:
        """The loss is told to the owner first, so that the next dial finds it counted."""
        self.server.open()
        self.server.lose("closed")
        self.assertEqual(
            self.news, [BackendOpened(7), (self.link, "closed"), BackendLost(7, "closed")]
        )

    def test_hello(self) -> None:
        """The server's hello gives session id and audio_params, whatever else it has."""
        self.server.answers("s1", audio_params={"sample_rate": 24000}, version=1)
        self.server.answers("s2")
        expected = [BackendHello(7, "s1", {"sample_rate": 24000}), BackendHello(7, "s2", None)]
        self.assertEqual(self.events, expected)

    def test_hello_without_id(self) -> None:
        """A hello that names no session is no answer."""
        with capturedLogs() as logs:
            for text in (
                b'{"type":"hello"}',
                b'{"type":"hello","session_id":""}',
                b'{"type":"hello","session_id":5}',
                b'{"type":"hello","session_id":"a\\nforged log line"}',
                b'{"type":"hello","session_id":"%s"}' % (b"x" * 257),
            ):
                self.server.says(text)
        self.assertEqual(self.events, [])
        self.assertEqual(self.link.refused_texts, 5)
        self.assertEqual(len(warnings(logs)), 1)

    def test_long_hello(self) -> None:
        """A hello is kept as long as its session, so it has to be short."""
        padding = MAX_HELLO - len(b'{"type":"hello","session_id":"s1","audio_params":""}')
        self.server.answers("s1", audio_params="x" * (padding + 1))
        self.assertEqual((self.events, self.link.refused_texts), ([], 1))
        self.server.answers("s1", audio_params="x" * padding)
        self.assertEqual(self.events, [BackendHello(7, "s1", "x" * padding)])

    def test_bad_texts(self) -> None:
        """Each kind is dropped, and the warning says which it was."""
        for why, text in BAD_TEXTS.items():
            with capturedLogs() as logs:
                self.link.refused_texts = 0
                self.server.says(text)
            self.assertEqual(self.events, [], why)
            self.assertEqual(len(warnings(logs)), 1)
            self.assertIn(
                f"device at server: dropping a message from the server that is {why}:",
                warnings(logs)[0],
            )

    def test_one_warning(self) -> None:
        """However many bad texts come, one line is logged; good ones pass in between."""
        with capturedLogs() as logs:
            for text in [*BAD_TEXTS.values(), b"", b'{"n":1e999}', b'{"n":' + b"9" * 5000 + b"}"]:
                self.server.says(text)
                self.server.says(b'{"type":"tts"}')
        self.assertEqual(self.link.refused_texts, 7)
        self.assertEqual(self.events, [BackendText(7, b'{"type":"tts"}')] * 7)
        self.assertEqual(len(warnings(logs)), 1)

    def test_long_texts(self) -> None:
        """A text is passed on up to MAX_TEXT; 1 MiB is dropped with a short line."""
        frame = b'{"text":"%s"}'
        longest = frame % (b"x" * (MAX_TEXT - len(frame) + 2))
        self.assertEqual(len(longest), MAX_TEXT)
        with capturedLogs() as logs:
            for text in (longest, longest + b" ", frame % (b"x" * 2**20)):
                self.server.says(text)
        self.assertEqual(self.events, [BackendText(7, longest)])
        self.assertEqual(self.link.refused_texts, 2)
        self.assertLess(max(map(len, warnings(logs))), 300)


class McpTests(LinkTestCase):
    """MCP messages from the server."""

    def test_unknown_tools(self) -> None:
        """Until the gateway knows all tools, the device is asked."""
        text = LIST_TOOLS % b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}'
        self.server.says(text)
        self.assertEqual(self.events, [BackendText(7, text)])
        self.assertEqual(self.server.texts, [])

    def test_known_tools(self) -> None:
        """Then tools/list is answered in the device's place, with the session's id."""
        self.list_tools()
        self.server.says(LIST_TOOLS % b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}')
        self.assertEqual(self.events, [])
        self.assertEqual(
            self.server.texts,
            [
                b'{"session_id":"s1","type":"mcp","payload":'
                b'{"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"self.light"}]}}}'
            ],
        )

    def test_notification(self) -> None:
        """notifications/initialized is not the device's business any more."""
        self.list_tools()
        self.server.says(LIST_TOOLS % b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        self.assertEqual((self.events, self.server.texts), ([], []))

    def test_calls_pass(self) -> None:
        """All else goes to the device, as it came."""
        self.list_tools()
        texts = [
            LIST_TOOLS % b'{"jsonrpc":"2.0","id":1, "method":"tools/call","params":{"n":1.0}}',
            LIST_TOOLS % b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}',
            LIST_TOOLS % b'"nothing"',
        ]
        for text in texts:
            self.server.says(text)
        self.assertEqual(self.events, [BackendText(7, text) for text in texts])
        self.assertEqual(self.server.texts, [])


class AudioTests(LinkTestCase):
    """Binary messages from the server."""

    def test_to_the_channel(self) -> None:
        """Timestamp and Opus reach the device; the channel gives the sequence."""
        self.open_channel()
        self.server.plays(server_audio(99, 60, OPUS))
        [(datagram, address)] = self.datagrams
        self.assertEqual(address, DEVICE)
        self.assertEqual(Cipher(KEY, SSRC).open(datagram), (1, 60, OPUS))

    def test_from_the_channel(self) -> None:
        """What the device says reaches the server."""
        self.open_channel()
        self.assertEqual(self.server.audio, [(1, 0, OPUS)])

    def test_bad_audio(self) -> None:
        """0 to 15 bytes, lengths that lie, more than a datagram: counted, one warning."""
        self.open_channel()
        good = server_audio(0, 60, OPUS)
        bad = [
            *(good[:size] for size in range(17)),
            good[:-1],
            good + b"\0",
            b"\2" + good[1:],
            good[:2] + b"\xff\xff" + good[4:],
            good[:12] + b"\xff\xff\xff\xff" + good[16:],
            server_audio(0, 60, b""),
            server_audio(0, 60, bytes(MAX_OPUS + 1)),
            bytes(2**20),
        ]
        with capturedLogs() as logs:
            for message in bad:
                self.server.plays(message)
        self.assertEqual(self.datagrams, [])
        self.assertEqual(self.link.refused_audio, len(bad))
        self.assertEqual(
            warnings(logs),
            [
                "device at server: dropping audio from the server: too_short"
                " (further such is only counted)"
            ],
        )
        self.server.plays(good)
        self.assertEqual(len(self.datagrams), 1)

    def test_early_audio(self) -> None:
        """Audio that nobody has a key for is usual: counted without a word."""
        with capturedLogs() as logs:
            self.server.plays(server_audio(0, 0, OPUS))
            self.server.plays(b"")
        self.assertEqual(self.link.unwanted_audio, 2)
        self.assertEqual(self.link.refused_audio, 0)
        self.assertEqual(logs, [])

    def test_warning_after_early_audio(self) -> None:
        """Early audio does not use up the one warning about bad audio."""
        self.server.plays(server_audio(0, 0, OPUS))
        self.open_channel()
        with capturedLogs() as logs:
            self.server.plays(b"short")
        self.assertEqual(len(warnings(logs)), 1)


class EndTests(LinkTestCase):
    """Closed by us, or lost."""

    def test_close(self) -> None:
        """The server gets code and reason; from then on it is not listened to."""
        channel = self.open_channel()
        self.server.open()
        self.link.close(1001, "stopping")
        self.assertEqual(self.server.closed, [(1001, "stopping")])
        self.assertTrue(self.link.closing)
        self.server.says(b'{"type":"tts"}')
        self.server.says(b"junk")
        self.server.plays(server_audio(0, 0, OPUS))
        self.assertEqual(self.events, [BackendOpened(7)])
        self.assertEqual(channel.stats.sent_packets, 0)
        self.assertEqual((self.link.refused_texts, self.link.unwanted_audio), (0, 1))

    def test_lost(self) -> None:
        """After the loss nothing is sent, and nothing raises."""
        self.open_channel()
        self.server.audio.clear()
        self.server.lose("closed")
        self.assertIsNone(self.link.channel)
        self.assertTrue(self.link.gone)
        self.link.send_text(b"{}")
        self.link.send_audio(1, 0, OPUS)
        self.link.close(1000, "late")
        self.assertEqual((self.server.texts, self.server.audio, self.server.closed), ([], [], []))

    def test_unsent_stays(self) -> None:
        """What could not be sent is still known after the loss."""
        self.server.audio_dropped = 7
        self.server.lose("closed")
        self.assertEqual(self.link.audio_dropped, 7)

    def test_closed_is_not_gone(self) -> None:
        """A connection that we closed has not gone by itself."""
        self.server.open()
        self.link.close(1000, "bye")
        self.server.lose("closed")
        self.assertFalse(self.link.gone)


class ListenerTests(LinkTestCase):
    """What a session hears in passing."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[object] = []
        self.link.listener = self

    def server_said(self, kind: str | None, state: str | None) -> None:
        self.heard.append((kind, state))

    def server_left(self) -> None:
        self.heard.append("left")

    def test_messages(self) -> None:
        """Type and state of each message that is passed on, before it is."""
        for text in (
            b'{"type":"tts","state":"start"}',
            b'{"type":"stt","text":"hi"}',
            b'{"type":["tts"],"state":1}',
            b'{"type":"mcp","payload":{}}',
            b"junk",
        ):
            self.server.says(text)
        self.assertEqual(self.heard, [("tts", "start"), ("stt", None), (None, None)])

    def test_left(self) -> None:
        """Told once, whoever ends the connection, and of nothing after that."""
        self.link.close(1000, "bye")
        self.server.says(b'{"type":"stt"}')
        self.server.lose("closed")
        self.assertEqual(self.heard, ["left"])

    def test_lost(self) -> None:
        """Likewise when it is lost first."""
        self.server.lose("closed")
        self.link.close(1000, "bye")
        self.assertEqual(self.heard, ["left"])
