"""One device: its messages in, its session run, its replies out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import (
    CONFIG,
    CREDENTIALS,
    URL,
    Address,
    FakeBackendLink,
    FakeDeviceLink,
    FakeDialer,
    Surroundings,
    Voice,
    warnings,
)
from xzgw.config import Config
from xzgw.core.device import Device
from xzgw.core.device_peer import Peer
from xzgw.core.hello import MAX_HELLO
from xzgw.core.ports import BackendEvents
from xzgw.core.session_types import Dialing, Gone, Idle, Live, SessionEnded
from xzgw.core.voice_session import VoiceSession
from xzgw.wire import credentials, messages
from xzgw.wire.audio import server_audio

CLIENT = CREDENTIALS[0]["client_id"]
FROM: Address = ("1.2.3.4", 40000)
OPUS = bytes([0x58]) + bytes(40)  # 60 ms
OTHER_URL = "ws://b.example:8000/xiaozhi/v1/?from=mqtt_gateway"

HELLO = (
    b'{"type":"hello","version":3,"transport":"udp","features":{"mcp":true},"text_font":"a",'
    b'"audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}'
)
PARAMS = {"format": "opus", "sample_rate": 24000, "channels": 1, "frame_duration": 60}
NO_SERVER = b'{"type":"error","message":"no chat server answered"}'
BAD_VERSION = b'{"type":"error","message":"hello version 3 is required"}'


class VanishingLink(FakeDeviceLink):
    """An MQTT connection that breaks when it is written to."""

    device: Device

    def publish(self, payload: bytes) -> None:
        super().publish(payload)
        self.device.lost()


class VanishingDialer(FakeDialer):
    """Its device is gone before a dial returns."""

    device: Device

    def __call__(
        self, url: str, headers: Mapping[str, str], events: BackendEvents
    ) -> FakeBackendLink:
        link = super().__call__(url, headers, events)
        self.device.lost()
        return link


def voice_of(device: Device) -> VoiceSession:
    """The open session of a device."""
    assert device.voice is not None
    return device.voice


class DeviceTestCase(SynchronousTestCase):
    """The device of the vectors' first credentials, and the servers it comes to."""

    config = CONFIG

    def setUp(self) -> None:
        self.use(self.config)

    def tearDown(self) -> None:
        """Whatever happened, a lost device leaves nothing behind."""
        self.device.lost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.around.services.channels, {})
        for dial in self.around.dialer.dials:
            dial.lose("test over")
        servers = (URL, OTHER_URL)
        left = [self.around.services.backends.choose("", {u} ^ set(servers)) for u in servers]
        self.assertEqual({server.sessions for server in left if server is not None}, {0})

    def use(self, config: Config, **around: Any) -> None:
        """Start over with this configuration."""
        self.around = Surroundings(config, **around)
        self.around.configure()
        self.clock = self.around.clock
        identity = credentials.parse_client_id(CLIENT)
        self.mqtt = FakeDeviceLink()
        self.left: list[str] = []
        peer = Peer(CLIENT, identity, FROM[0], "192.0.2.1")
        self.device = Device(peer, self.mqtt, self.around.services, self.note_leaving)

    def note_leaving(self, device: Device, reason: str) -> None:
        """What those would hear that are in a call with the device, or call it."""
        self.left.append(reason)

    @property
    def server(self) -> FakeBackendLink:
        """The newest connection to a server."""
        return self.around.dialer.dials[-1]

    def hello(self, session_id: str, text: bytes = HELLO) -> bytes:
        """The device says hello and is answered; returns the reply."""
        self.device.received(text)
        self.server.open()
        self.mqtt.take()
        self.server.answers(session_id, audio_params=PARAMS)
        [reply] = self.mqtt.take()
        return reply

    def datagram(self, voice: Voice, sequence: int) -> None:
        """The device sends one packet of audio."""
        channel = self.around.services.channels[voice.ssrc]
        channel.receive(voice.cipher.seal(sequence, 7 * sequence, OPUS), FROM)


class HelloTests(DeviceTestCase):
    """hello, and the reply to it."""

    def test_greeting(self) -> None:
        """The server is greeted once it is open; members that we do not know travel on."""
        self.device.received(HELLO)
        self.assertEqual(self.server.texts, [])
        self.server.open()
        [text] = self.server.texts
        self.assertEqual(
            messages.parse(text),
            {
                "type": "hello",
                "version": 2,
                "transport": "websocket",
                "features": {"mcp": True},
                "text_font": "a",
                "audio_params": {
                    "format": "opus",
                    "sample_rate": 16000,
                    "channels": 1,
                    "frame_duration": 60,
                },
            },
        )
        self.assertEqual(self.mqtt.published, [])

    def test_reply(self) -> None:
        """The reply has each field that the device asks for."""
        reply = messages.parse(self.hello("s1"))
        channel = voice_of(self.device).channel
        [(ssrc, registered)] = self.around.services.channels.items()
        self.assertIs(registered, channel)
        self.assertEqual(
            reply,
            {
                "type": "hello",
                "version": 3,
                "session_id": "s1",
                "transport": "udp",
                "udp": {
                    "server": "203.0.113.7",
                    "port": 8884,
                    "encryption": "aes-128-ctr",
                    "key": channel.key.hex(),
                    "nonce": f"01000000{ssrc:08x}0000000000000000",
                },
                "audio_params": PARAMS,
            },
        )
        self.assertEqual(len(channel.key), 16)

    def test_local_address(self) -> None:
        """Without PUBLIC_IP the device is told the address that it connected to."""
        self.use(replace(CONFIG, public_ip=None, public_udp_port=9999))
        udp = messages.parse(self.hello("s1"))["udp"]
        self.assertEqual((udp["server"], udp["port"]), ("192.0.2.1", 9999))
        self.assertEqual(self.around.voice.asked, [("192.0.2.1", "192.0.2.1")])

    def test_the_only_address(self) -> None:
        """Audio that is received at one address only is asked for there."""
        self.use(replace(CONFIG, public_ip=None, public_udp_port=None))
        self.around.voice.host = "192.0.2.9"
        udp = messages.parse(self.hello("s1"))["udp"]
        self.assertEqual((udp["server"], udp["port"]), ("192.0.2.9", 8884))

    def test_public_address(self) -> None:
        """Replies are sent from where a device that was told PUBLIC_IP expects them."""
        self.hello("s1")
        self.assertEqual(self.around.voice.asked, [("203.0.113.7", "192.0.2.1")])

    def test_fresh_key_and_connection_id(self) -> None:
        """Each hello starts anew: key, connection id, sequences from 1."""
        voices = [Voice(self.hello(f"s{number}")) for number in range(5)]
        self.assertEqual(len({voice.key for voice in voices}), 5)
        self.assertEqual(len({voice.ssrc for voice in voices}), 5)
        self.datagram(voices[-1], 1)
        self.server.plays(server_audio(50, 60, OPUS))
        [(datagram, address)] = self.around.voice.sent
        self.assertEqual(voices[-1].cipher.open(datagram), (1, 60, OPUS))
        self.assertEqual(address, FROM)
        self.assertEqual(self.server.audio, [(1, 7, OPUS)])

    def test_connection_ids(self) -> None:
        """A connection id is never 0, nor one that an open channel has."""
        drawn = iter([b"MCP0", b"\0\0\0\0", b"\0\0\0\1", bytes(15) + b"1"])
        self.use(CONFIG, entropy=lambda size: next(drawn))
        self.assertEqual(Voice(self.hello("s1")).ssrc, 1)
        drawn = iter([b"\0\0\0\1", b"\0\0\0\2"])
        self.assertEqual(self.around.services.new_ssrc(), 2)

    def test_refused_hellos(self) -> None:
        """Another version is refused in words, and an open session goes on."""
        hellos = [b'{"type":"hello"}', HELLO.replace(b'"version":3', b'"version":4')]
        hellos += [HELLO.replace(b'"version":3', b'"version":"3"')]
        for number, text in enumerate(hellos):
            self.device.received(text)
            self.assertEqual(self.mqtt.take(), [BAD_VERSION], number)
        self.assertEqual(self.around.dialer.dials, [])
        self.hello("s1")
        self.device.received(hellos[0])
        self.assertEqual(self.mqtt.take(), [BAD_VERSION])
        self.assertEqual(self.device.session.state, Live(1, "s1"))

    def test_too_long(self) -> None:
        """A hello that would be too long for servers is refused, and nothing of it is kept."""
        short = self.hello_of(MAX_HELLO)
        self.hello("s1", short)
        kept = self.device.device_audio
        # Written again, 1e15 takes four times as much.
        numbers = HELLO.replace(b'"a"', b"[%s1]" % (b"1e15," * 2000))
        for text in (self.hello_of(MAX_HELLO + 1), numbers):
            self.device.received(text)
            [refusal] = self.mqtt.take()
            self.assertEqual(messages.parse(refusal)["message"], "hello is longer than 16384 bytes")
        self.assertIs(self.device.device_audio, kept)
        self.assertEqual(len(self.around.dialer.dials), 1)
        self.assertEqual(self.device.session.state, Live(1, "s1"))

    def hello_of(self, size: int) -> bytes:
        """One that has this many bytes as servers get it."""
        longer = size - len(messages.server_hello(messages.parse(HELLO)))
        return HELLO.replace(b'"a"', b'"%s"' % (b"a" * (longer + 1)))

    def test_odd_audio_params(self) -> None:
        """No value of audio_params does harm; the frame duration is then learned."""
        odd = ["5", "null", "[]", '"x"', "{}"]
        for duration in ("true", "null", '"60"', "[60]", "61", "9" * 4000):
            odd.append(f'{{"frame_duration":{duration}}}')
        for params in odd:
            text = b'{"type":"hello","version":3,"audio_params":%s}' % params.encode()
            voice = Voice(self.hello("s1", text))
            for sequence in (1, 2, 3):
                self.datagram(voice, sequence)
            self.assertEqual(len(self.server.audio), 3, params)

    def test_burst(self) -> None:
        """A burst of hellos costs one dial, and the newest is said."""
        for number in range(20):
            self.device.received(HELLO.replace(b'"a"', b"%d" % number))
        self.server.open()
        self.assertEqual(len(self.around.dialer.dials), 1)
        self.assertEqual([messages.parse(t)["text_font"] for t in self.server.texts], [19])

    def test_server_without_audio_params(self) -> None:
        """What the server does not say, the device is not told."""
        self.device.received(HELLO)
        self.server.open()
        self.server.answers("s1")
        [reply] = self.mqtt.take()
        self.assertNotIn("audio_params", messages.parse(reply))


class FailoverTests(DeviceTestCase):
    """Servers that refuse, or are silent."""

    config = replace(CONFIG, production_servers=(URL, OTHER_URL))

    def test_next_server(self) -> None:
        """The device is answered by the second server and hears nothing of the first."""
        self.device.received(HELLO)
        self.server.open()
        silent = self.server
        self.clock.pump([0.5] * 5)
        self.assertEqual(silent.closed, [(1000, "no hello in time")])
        self.assertEqual(silent.texts, [silent.texts[0]] * 2)  # said again after 2 s
        self.assertEqual(self.server.url, OTHER_URL)
        self.server.open()
        silent.answers("late")
        self.server.answers("s2")
        [reply] = self.mqtt.take()
        self.assertEqual(messages.parse(reply)["session_id"], "s2")
        silent.lose("closed")
        self.assertEqual(self.device.session.state, Live(2, "s2"))

    def test_all_silent(self) -> None:
        """The device is told within 9 s that nobody answered."""
        self.device.received(HELLO)
        self.clock.pump([0.25] * 35)
        self.assertEqual(self.mqtt.take(), [])
        self.clock.advance(0.25)
        self.assertEqual(self.mqtt.take(), [NO_SERVER])
        self.assertEqual(self.device.session.state, Idle())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_at_once(self) -> None:
        """Dials that are lost before they return are followed by the next."""
        self.use(self.config, refused=[URL])
        reply = messages.parse(self.hello("s1"))
        self.assertEqual(reply["session_id"], "s1")
        self.assertEqual([d.url for d in self.around.dialer.dials], [URL, OTHER_URL])

    def test_all_refused_at_once(self) -> None:
        """One error, and the next hello tries them all again."""
        self.use(self.config, refused=[URL, OTHER_URL])
        for attempt in (1, 2):
            self.device.received(HELLO)
            self.assertEqual(self.mqtt.take(), [NO_SERVER])
            self.assertEqual(len(self.around.dialer.dials), 2 * attempt)

    def test_lost_while_being_reached(self) -> None:
        """A device that goes while its server is reached takes the dial with it."""
        self.device.received(HELLO)
        self.device.lost()
        self.assertEqual(self.server.closed, [(1000, "device disconnected")])
        self.assertEqual(self.device.session.state, Gone())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_goodbye_while_being_reached(self) -> None:
        """A goodbye ends the dial; nothing is said to the device."""
        self.device.received(HELLO)
        self.device.received(b'{"type":"goodbye"}')
        self.assertEqual(self.server.closed, [(1000, "device said goodbye")])
        self.assertEqual(self.mqtt.take(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TextTests(DeviceTestCase):
    """Texts, both ways."""

    TEXTS = (
        b'{"type":"listen","state":"start","mode":"auto"}',
        b' {"b":1.0,"a":1E2,"type":"x","e":"\\u5c0f\\/\\ud83d","c":-0,"a":2} \r\n',
        b'{"type":"iot","n":123456789012345678901234567890.50}',
        '{"type":"llm","text":"小智😀"}'.encode(),
        b'{"type":"mcp","payload":{"jsonrpc":"2.0","id":1.0,"result":{}}}',
        b'{"type":"mcp","payload":[]}',
        b'{"session_id":5,"type":5}',
        b"{}",
        b'{"pad":"' + b"x" * 2**17 + b'"}',
    )

    def test_byte_for_byte(self) -> None:
        """Numbers, key order, escapes, spaces: both ways the very text that arrived."""
        self.hello("s1")
        self.server.texts.clear()
        for text in self.TEXTS:
            self.device.received(text)
            self.server.says(text)
        self.assertEqual(self.server.texts, list(self.TEXTS))
        self.assertEqual(self.mqtt.take(), list(self.TEXTS))

    def test_long_text_of_the_device(self) -> None:
        """1 MiB of one message, should the configuration let it in, is passed on whole."""
        self.hello("s1")
        text = b'{"type":"x","pad":"' + b"x" * 2**20 + b'"}'
        self.device.received(text)
        self.assertEqual(self.server.texts[-1], text)

    def test_before_the_hello(self) -> None:
        """Texts that the server sends before its hello reach the device."""
        self.device.received(HELLO)
        self.server.open()
        self.server.says(b'{"type":"stt","text":"a"}')
        self.assertEqual(self.mqtt.take(), [b'{"type":"stt","text":"a"}'])

    def test_no_session(self) -> None:
        """A message with no session open is answered with a goodbye for the id it carries."""
        self.device.received(b'{"type":"listen","session_id":"old"}')
        self.assertEqual(self.mqtt.take(), [b'{"session_id":"old","type":"goodbye"}'])
        self.device.received(b'{"type":"mcp","session_id":"old","payload":{}}')
        self.assertEqual(self.mqtt.take(), [b'{"session_id":"old","type":"goodbye"}'])
        self.device.received(b'{"type":"mcp","session_id":"","payload":{"id":3,"result":1}}')
        self.device.received(b'{"type":"goodbye","session_id":"old"}')
        self.device.received(b'{"type":"udp_timeout","session_id":"old"}')
        self.assertEqual(self.mqtt.take(), [])

    def test_bad_messages(self) -> None:
        """Whatever is no JSON object is dropped and counted, with one warning for all."""
        self.hello("s1")
        greeting = list(self.server.texts)
        bad = [
            b"",
            b"junk",
            b'["type","hello"]',
            b"3",
            b'{"type":"\xff"}',
            b"\0" * 100,
            b"[" * 100_000,
            b'{"a":' * 5000 + b"1" + b"}" * 5000,
            b'{"n":1e999}',
            b'{"n":NaN}',
            b'{"n":' + b"9" * 5000 + b"}",
        ]
        with capturedLogs() as logs:
            for text in bad:
                self.device.received(text)
        self.assertEqual(self.device.intake.refused, len(bad))
        self.assertEqual(
            warnings(logs),
            [f"{CLIENT}: dropping a message that is not JSON (further ones are only counted)"],
        )
        self.assertEqual((self.server.texts, self.mqtt.take()), (greeting, []))
        self.device.received(b"{}")
        self.assertEqual(self.server.texts, [*greeting, b"{}"])

    def test_bad_server(self) -> None:
        """Junk of the server, text or binary, does not reach the device; good texts still do."""
        self.hello("s1")
        with capturedLogs() as logs:
            for text in ("认证失败".encode(), b"[]", b"\xff", b"[" * 100_000, b'{"n":1e999}'):
                self.server.says(text)
            for size in range(16):
                self.server.plays(bytes(size))
            self.server.plays(server_audio(1, 1, OPUS)[:-1])
        self.assertEqual(len(warnings(logs)), 2)  # one of each kind
        self.server.says(b'{"type":"tts"}')
        self.assertEqual(self.mqtt.take(), [b'{"type":"tts"}'])
        self.assertEqual(self.around.voice.sent, [])
        self.assertEqual(self.device.session.state, Live(1, "s1"))


class EndTests(DeviceTestCase):
    """How sessions end."""

    def test_goodbye_of_the_device(self) -> None:
        """The WebSocket is closed, the channel removed, and nothing is said in return."""
        self.hello("s1")
        self.device.received(b'{"type":"goodbye","session_id":"s1"}')
        self.assertEqual(self.server.closed, [(1000, "device said goodbye")])
        self.server.lose("closed")
        self.assertEqual(self.around.services.channels, {})
        self.assertIsNone(self.device.voice)
        self.assertEqual(self.mqtt.take(), [])

    def test_server_closes(self) -> None:
        """The device gets a goodbye with that session's id."""
        self.hello("s1")
        self.server.lose("server closed with 1000")
        self.assertEqual(self.mqtt.take(), [b'{"session_id":"s1","type":"goodbye"}'])
        self.assertEqual(self.around.services.channels, {})
        self.assertEqual(self.server.closed, [])

    def test_udp_timeout(self) -> None:
        """The session ends without a goodbye."""
        self.hello("s1")
        self.device.received(b'{"type":"udp_timeout","session_id":"s1"}')
        self.server.lose("closed")
        self.assertEqual(self.mqtt.take(), [])
        self.assertEqual(self.around.services.channels, {})

    def test_stop(self) -> None:
        """The gateway's own end: goodbye to the device, 1001 to the server."""
        self.hello("s1")
        self.device.feed(SessionEnded("stopping"))
        self.assertEqual(self.mqtt.take(), [b'{"session_id":"s1","type":"goodbye"}'])
        self.assertEqual(self.server.closed, [(1001, "stopping")])

    def test_new_hello_stops_old_downlink(self) -> None:
        """From the new hello on, no audio of the old session is sent, and no goodbye said."""
        voice = Voice(self.hello("s1"))
        self.datagram(voice, 1)
        old = self.server
        old.plays(server_audio(0, 0, OPUS))
        self.assertEqual(len(self.around.voice.sent), 1)
        old_channel = voice_of(self.device).channel
        self.device.received(HELLO)
        self.assertEqual(self.around.services.channels, {})
        old.plays(server_audio(1, 60, OPUS))
        old_channel.downlink(120, OPUS)
        old.says(b'{"type":"tts"}')
        self.assertEqual(len(self.around.voice.sent), 1)
        self.assertEqual(old.closed, [(1000, "replaced by a new hello")])
        self.server.open()
        old.lose("closed")
        self.server.answers("s2")
        self.assertEqual(len(self.mqtt.take()), 1)
        self.assertEqual(len(self.around.services.channels), 1)
        self.assertEqual(self.device.session.state, Live(2, "s2", "s1"))

    def test_goodbye_and_hello_in_one_segment(self) -> None:
        """The old connection's end comes later and does not touch the new session."""
        self.hello("s1")
        old = self.server
        self.device.received(b'{"type":"goodbye","session_id":"s1"}')
        self.device.received(HELLO)
        self.device.received(b'{"type":"goodbye","session_id":"s1"}')
        self.server.open()
        old.lose("closed")
        self.server.answers("s2")
        [reply] = self.mqtt.take()
        self.assertEqual(messages.parse(reply)["session_id"], "s2")
        self.assertEqual(self.server.closed, [])

    def test_disconnect(self) -> None:
        """Our wish to disconnect goes to the MQTT connection."""
        self.device.disconnect("taken over")
        self.assertEqual(self.mqtt.closed, ["taken over"])

    def test_lost(self) -> None:
        """With the device its session ends; late news raises nothing and sends nothing."""
        self.hello("s1")
        self.device.lost()
        self.assertEqual(self.server.closed, [(1000, "device disconnected")])
        self.server.says(b'{"type":"tts"}')
        self.server.plays(server_audio(0, 0, OPUS))
        self.server.lose("closed")
        self.device.received(HELLO)
        self.assertEqual(self.mqtt.take(), [])
        self.assertEqual(len(self.around.dialer.dials), 1)

    def test_leaving(self) -> None:
        """Whoever calls the device hears when it says goodbye, and when it is lost; not of the
        end of a session that the device has not brought about, nor of its hellos.
        """
        self.device.received(HELLO)
        self.server.open()
        self.server.answers("s1")
        self.server.lose("closed")
        self.device.received(HELLO)
        self.device.received(b'{"type":"goodbye","session_id":"s1"}')  # of the session before
        self.assertEqual(self.left, [])
        self.device.received(b'{"type":"goodbye"}')
        self.device.received(b'{"type":"goodbye"}')  # there is none any more
        self.assertEqual(self.left, ["device said goodbye"])
        self.device.lost()
        self.assertEqual(self.left, ["device said goodbye", "device disconnected"])

    def test_lost_when_written_to(self) -> None:
        """A connection that breaks under a message takes its session with it, in good order."""
        link = VanishingLink()
        link.device = self.device = Device(
            self.device.peer, link, self.around.services, self.note_leaving
        )
        self.device.received(HELLO)
        self.server.open()
        self.server.says(b'{"type":"stt"}')
        self.assertEqual(link.take(), [b'{"type":"stt"}'])
        self.assertEqual(self.server.closed, [(1000, "device disconnected")])
        self.assertEqual(self.device.session.state, Gone())

    def test_lost_within_a_dial(self) -> None:
        """Device and server lost in one breath: the news is taken in order, and all ends."""
        dialer = VanishingDialer(refused=[URL])
        dialer.device = self.device
        self.around.dialer = self.around.services.dial = dialer
        self.device.received(HELLO)
        self.assertEqual(self.device.session.state, Gone())
        self.assertEqual(self.mqtt.take(), [])
        self.assertEqual(len(dialer.dials), 1)


class McpTests(DeviceTestCase):
    """Whose reply is whose."""

    CALL = b'{"type":"mcp","payload":{"jsonrpc":"2.0","id":1, "method":"tools/call"}}'
    LIST = (
        b'{"session_id":"s1","type":"mcp","payload":{"jsonrpc":"2.0","id":2,"method":"tools/list"}}'
    )

    def replies(self, result: object) -> bytes:
        """The device answers our newest request; returns the text."""
        asked = messages.parse(self.mqtt.published[-1])["payload"]["id"]
        payload = {"jsonrpc": "2.0", "id": asked, "result": result}
        text = messages.mcp(payload, "")
        self.device.received(text)
        return text

    def list_tools(self) -> None:
        """The gateway learns the device's tools."""
        self.device.start()
        self.replies({})
        self.replies({"tools": [{"name": "self.light"}]})

    def test_discovery(self) -> None:
        """Before any session the gateway asks, and takes the replies as its own."""
        with capturedLogs() as logs:
            self.list_tools()
        methods = [messages.parse(text)["payload"]["method"] for text in self.mqtt.take()]
        self.assertEqual(methods, ["initialize", "notifications/initialized", "tools/list"])
        self.assertEqual(self.device.mcp.tools, ({"name": "self.light"},))
        self.assertEqual([formatEvent(e) for e in logs], [f"MCP: {CLIENT}: device has 1 tools"])

    def test_about_us(self) -> None:
        """initialize says what the configuration says."""
        self.device.start()
        params = messages.parse(self.mqtt.published[0])["payload"]["params"]
        self.assertEqual(params["clientInfo"], {"name": "xiaozhi-mqtt-client", "version": "1.0.0"})
        self.assertEqual(params["capabilities"], {})

    def test_own_replies_stay_here(self) -> None:
        """During a session our replies do not reach the server, not even one that is late."""
        self.hello("s1")
        greeting = list(self.server.texts)
        self.device.start()
        self.clock.advance(10)
        self.assertEqual(self.device.mcp.status, "device did not answer initialize within 10 s")
        self.replies({})
        self.assertEqual(self.server.texts, greeting)

    def test_server_calls(self) -> None:
        """What the server asks and what the device answers pass as they came."""
        self.list_tools()
        self.hello("s1")
        reply = b'{"type":"mcp","session_id":"s1","payload":{"jsonrpc":"2.0","id":1,"result": {}}}'
        self.server.says(self.CALL)
        self.device.received(reply)
        self.assertEqual(self.mqtt.take(), [self.CALL])
        self.assertEqual(self.server.texts[-1], reply)

    def test_cache_answers(self) -> None:
        """The server's tools/list is answered here once all tools are known."""
        self.hello("s1")
        self.server.says(self.LIST)
        self.assertEqual(self.mqtt.take(), [self.LIST])
        self.list_tools()
        self.mqtt.take()
        self.server.says(self.LIST)
        self.assertEqual(self.mqtt.take(), [])
        answer = messages.parse(self.server.texts[-1])
        self.assertEqual(answer["session_id"], "s1")
        self.assertEqual(answer["payload"]["id"], 2)
        self.assertEqual(answer["payload"]["result"], {"tools": [{"name": "self.light"}]})

    def test_lost_while_asked(self) -> None:
        """A device that goes ends its discovery; its log says so."""
        self.device.start()
        with capturedLogs() as logs:
            self.device.lost()
        self.assertEqual(
            [formatEvent(e) for e in logs],
            [f"MCP: {CLIENT}: device is gone: device disconnected"],
        )


class LogTests(DeviceTestCase):
    """What an operator reads about sessions."""

    config = replace(CONFIG, server_secret="Te1st12134")

    def test_session_lines(self) -> None:
        """One line at the start and one at the end, with what came of the audio; then its event."""
        with capturedLogs() as logs:
            self.device.received(HELLO)
            self.clock.advance(0.25)
            self.server.open()
            self.server.answers("s1")
            voice = Voice(self.mqtt.take()[-1])
            for sequence in (1, 2, 5, 5):
                self.datagram(voice, sequence)
            self.server.plays(server_audio(0, 0, OPUS))
            self.server.audio_dropped = 7
            self.clock.advance(12.5)
            self.device.received(b'{"type":"goodbye","session_id":"s1"}')
        *lines, event = [formatEvent(event) for event in logs]
        self.assertTrue(event.startswith('session_end {"id":'))
        self.assertEqual(
            lines,
            [
                f"session start: {CLIENT} session=s1 server={URL} audio=203.0.113.7:8884"
                " after=0.250s",
                f"session end: {CLIENT} session=s1 reason='device said goodbye' duration=12.5s"
                " up=3 lost=2 refused=1 unsent=7 down=1 dropped=0 quality=1.7",
            ],
        )

    def test_no_secrets(self) -> None:
        """Neither the lines nor the fields behind them hold a key, a token or a nonce."""
        with capturedLogs() as logs:
            self.device.start()
            voice = Voice(self.hello("s1"))
            self.datagram(voice, 1)
            token = self.server.headers["authorization"].removeprefix("Bearer ")
            self.server.says(b"junk")
            self.device.received(b"junk")
            self.server.plays(b"junk")
            self.server.lose("closed")
            self.device.received(HELLO)
            self.clock.pump([1.0] * 20)
        said = "\n".join(formatEvent(event) + repr(event) for event in logs)
        self.assertIn("session end", said)
        self.assertIn("no chat server answered", said)
        credential = CREDENTIALS[0]
        secrets = [voice.key.hex(), repr(voice.key)[2:-1], voice.nonce.hex(), token, "Te1st12134"]
        secrets += [credential["password"], credential["username"], CONFIG.signature_key]
        for secret in secrets:
            self.assertNotIn(secret, said)

    def test_debug(self) -> None:
        """With debug each message has a line: direction, type and size, never its content."""
        self.use(replace(self.config, debug=True))
        self.hello("s1")
        with capturedLogs() as logs:
            self.device.received(b'{"type":"listen","secret":1}')
            self.server.says(b'{"secret":"a"}')
        self.assertEqual(
            [formatEvent(event) for event in logs],
            [f"{CLIENT}: to server: 'listen', 28 bytes", f"{CLIENT}: to device: None, 14 bytes"],
        )
        self.assertEqual({event["log_level"] for event in logs}, {LogLevel.debug})
        self.assertNotIn("secret", repr(logs))

    def test_no_debug(self) -> None:
        """Without it, messages leave no line."""
        self.hello("s1")
        with capturedLogs() as logs:
            self.device.received(b'{"type":"listen"}')
            self.server.says(b'{"type":"tts"}')
        self.assertEqual(logs, [])

    def test_state_while_dialing(self) -> None:
        """A dial that never ends well is no session: no line of start or end."""
        with capturedLogs() as logs:
            self.device.received(HELLO)
            self.assertIsInstance(self.device.session.state, Dialing)
            self.clock.pump([1.0] * 10)
        said = "\n".join(formatEvent(event) for event in logs)
        self.assertNotIn("session start", said)
        self.assertNotIn("session end", said)
