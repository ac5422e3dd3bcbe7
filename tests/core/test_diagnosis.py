"""From what was seen to one sentence and a checklist: every rule fires, and just in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.diagnosis import diagnose
from xzgw.core.findings import CHECKS, Attempt, Cause, Findings, Found, State, Talk, Try
from xzgw.core.limits import DRAINING
from xzgw.core.sayings import say

URL = "ws://10.0.0.5:8000/xiaozhi/v1/?from=mqtt_gateway"
OTHER = "ws://10.0.0.6:8000/xiaozhi/v1/?from=mqtt_gateway"
IDLE = Findings("192.168.0.20", connected=30.0)
WELL = Talk(
    5.0,
    URL,
    ("192.168.0.7", 8884),
    "192.168.0.7",
    received=50,
    forwarded=50,
    reactions=3,
    played=True,
    audio=40,
    sent=40,
)
DEAF = replace(WELL, received=0, forwarded=0, reactions=0, played=False, audio=0, sent=0)
TALKING = replace(IDLE, hello=5.0, talk=WELL)


def during(talk: Talk, **changes: Any) -> Findings:
    """A device in such a session, but for these changes."""
    return replace(TALKING, talk=replace(talk, **changes))


def after(*tried: Try, secret: bool = True) -> Findings:
    """A device whose hello these servers failed to answer."""
    attempt = Attempt(2.0, "no chat server answered", tried=tried)
    return replace(IDLE, hello=2.0, secret=secret, attempt=attempt)


def http(status: int) -> Try:
    """A server that answers the WebSocket's handshake with this status."""
    return Try(URL, f"connection lost: WebSocket connection upgrade failed [{status}]: Some Words")


REFUSED_TCP = Try(URL, "cannot connect: Connection was refused by other side: 111: refused.")
NO_ANSWER = Try(URL, "no hello within 9.0 s")
SILENT = Try(URL, "no hello within 9.0 s", opened=True)
HUNG_UP = Try(URL, "server closed with 1011", opened=True)
BAD_TOKEN = Try(URL, "server closed with 1000", opened=True, said="认证失败")

# What was seen; the cause, the item that fails, and words that the sentence must have.
FAULTS: dict[str, tuple[Findings, Cause, str, tuple[str, ...]]] = {
    "no ping": (
        replace(TALKING, silent=50.0, unanswered=5.0),
        Cause.MQTT_GONE,
        "mqtt",
        ("nothing from this device for 50 s", "Wi-Fi"),
    ),
    "wrong topic": (
        replace(IDLE, wrong_topic="device/server"),
        Cause.WRONG_TOPIC,
        "hello",
        ("'device/server'", "publish_topic"),
    ),
    "no JSON": (
        replace(IDLE, bad_messages=3),
        Cause.BAD_MESSAGES,
        "hello",
        ("3 messages that are no JSON objects",),
    ),
    "drained": (
        replace(IDLE, hello=1.0, attempt=Attempt(1.0, DRAINING)),
        Cause.NO_ROOM,
        "hello",
        ("the gateway is being drained: devices are let go",),
    ),
    "bad hello": (
        replace(IDLE, hello=1.0, attempt=Attempt(1.0, "hello version 3 is required", True)),
        Cause.BAD_HELLO,
        "hello",
        ("hello 1 s ago was refused: hello version 3 is required", "firmware"),
    ),
    "no room": (
        replace(IDLE, hello=1.0, attempt=Attempt(1.0, "max_sessions is reached")),
        Cause.NO_ROOM,
        "hello",
        ("max_sessions is reached", "raise the limit"),
    ),
    "all drained": (after(), Cause.NO_SERVER, "server", ("resume one",)),
    "server down": (
        after(REFUSED_TCP),
        Cause.SERVER_UNREACHABLE,
        "server",
        (URL, "cannot be reached", "refused): is the xiaozhi-server running"),
    ),
    "server does not answer": (
        after(NO_ANSWER),
        Cause.SERVER_UNREACHABLE,
        "server",
        ("does not answer", "firewall"),
    ),
    "bad certificate": (
        after(Try("wss://a/", "TLS failed: the certificate has expired")),
        Cause.SERVER_UNREACHABLE,
        "server",
        ("wss://a/ cannot be reached (TLS failed", "expired): is its certificate", "backend_ca"),
    ),
    "server silent": (
        after(SILENT),
        Cause.SERVER_SILENT,
        "server_hello",
        ("took our hello and did not answer", "models"),
    ),
    "server hangs up": (
        after(HUNG_UP),
        Cause.SERVER_HUNG_UP,
        "server_hello",
        ("server closed with 1011", "is the path right", "SERVER_SECRET"),
    ),
    "server hangs up with words": (
        after(replace(HUNG_UP, said="busy")),
        Cause.SERVER_HUNG_UP,
        "server_hello",
        ("after saying 'busy'",),
    ),
    "token": (
        after(BAD_TOKEN),
        Cause.SERVER_REFUSED,
        "server_hello",
        ("refuses our token (it says 认证失败)", "compare SERVER_SECRET with", "server.auth_key"),
    ),
    "no token": (
        after(BAD_TOKEN, secret=False),
        Cause.SERVER_REFUSED,
        "server_hello",
        ("none is set here",),
    ),
    "401": (after(http(401)), Cause.SERVER_REFUSED, "server_hello", ("HTTP 401", "auth_key")),
    "403": (after(http(403)), Cause.SERVER_REFUSED, "server_hello", ("HTTP 403", "auth_key")),
    "404": (after(http(404)), Cause.SERVER_REFUSED, "server", ("HTTP 404", "path right")),
    "502": (after(http(502)), Cause.SERVER_REFUSED, "server", ("HTTP 502", "failing")),
    "the most telling of two": (
        after(REFUSED_TCP, replace(BAD_TOKEN, server=OTHER)),
        Cause.SERVER_REFUSED,
        "server_hello",
        (OTHER, f"the others failed, too: {URL}: cannot connect"),
    ),
    "wrong key": (
        during(DEAF, received=5, refused={"implausible": 5}),
        Cause.UDP_WRONG_KEY,
        "uplink",
        ("5 datagrams", "decrypt to nonsense"),
    ),
    "wrong key, one passed by chance": (
        during(WELL, received=80, forwarded=2, refused={"implausible": 78}),
        Cause.UDP_WRONG_KEY,
        "uplink",
        ("78 datagrams",),
    ),
    "wrong key, a few": (
        during(DEAF, received=2, refused={"implausible": 1, "unconfirmed_duration": 1}),
        Cause.UDP_WRONG_KEY,
        "uplink",
        ("2 datagrams",),
    ),
    "malformed": (
        during(DEAF, received=5, refused={"wrong_length": 4, "empty": 1}),
        Cause.UDP_MALFORMED,
        "uplink",
        ("(empty 1, wrong_length 4)",),
    ),
    "no sequence": (
        during(DEAF, received=9, refused={"old_sequence": 9}),
        Cause.UDP_MALFORMED,
        "uplink",
        ("(old_sequence 9)",),
    ),
    "malformed now": (
        during(WELL, listening=4.0, arrived=60, refused={"old_sequence": 60}),
        Cause.UDP_MALFORMED,
        "uplink",
        ("began to listen 4 s ago", "60 datagrams", "so far: old_sequence 60"),
    ),
    "wrong source": (
        during(DEAF, received=9, refused={"unconfirmed_source": 9}),
        Cause.UDP_WRONG_SOURCE,
        "uplink",
        ("9 datagrams", "192.168.0.20", "NAT"),
    ),
    "wrong source, and one that is no packet": (
        during(DEAF, received=9, refused={"unconfirmed_source": 8, "wrong_length": 1}),
        Cause.UDP_WRONG_SOURCE,
        "uplink",
        ("9 datagrams",),
    ),
    "held back": (during(DEAF, received=2), Cause.UDP_WRONG_SOURCE, "uplink", ("2 datagrams",)),
    "unknown session": (
        during(DEAF, strays=5),
        Cause.UDP_UNKNOWN,
        "uplink",
        ("5 datagrams came from 192.168.0.20",),
    ),
    "loopback told": (
        during(DEAF, told=("127.0.0.1", 8884)),
        Cause.WRONG_ADDRESS,
        "uplink",
        ("127.0.0.1, which is the loopback address", "PUBLIC_IP"),
    ),
    "container told": (
        during(DEAF, told=("172.17.0.2", 8884), local_ip="172.17.0.2"),
        Cause.WRONG_ADDRESS,
        "uplink",
        ("Docker",),
    ),
    "private address told to one outside": (
        replace(during(DEAF, told=("10.0.0.5", 8884), local_ip="10.0.0.5"), peer_ip="8.8.8.8"),
        Cause.WRONG_ADDRESS,
        "uplink",
        ("10.0.0.5, which is a private address", "comes from 8.8.8.8", "set PUBLIC_IP"),
    ),
    "no UDP": (
        during(DEAF, age=4.0),
        Cause.NO_UDP,
        "uplink",
        (
            "hello answered 4 s ago, no UDP from this device: is 8884/udp open, is 192.168.0.7"
            " reachable from it?",
            "set PUBLIC_IP",
        ),
    ),
    "subtitles but no sound": (
        during(DEAF, waiting=17),
        Cause.AUDIO_BEFORE_UDP,
        "downlink",
        ("subtitles but no sound", "17 packets", "is 8884/udp open"),
    ),
    "blocked both ways, as the device says": (
        during(DEAF, waiting=17, timed_out=True),
        Cause.AUDIO_BEFORE_UDP,
        "downlink",
        ("17 packets",),
    ),
    "udp_timeout without audio": (
        during(WELL, audio=0, sent=0, timed_out=True),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("the device has given up waiting for audio", "speech synthesis"),
    ),
    "udp_timeout": (
        during(WELL, timed_out=True),
        Cause.UDP_TIMEOUT,
        "downlink",
        ("40 packets were sent", "192.168.0.7:8884"),
    ),
    "device silent": (
        during(WELL, listening=4.0),
        Cause.DEVICE_SILENT,
        "uplink",
        ("began to listen 4 s ago", "microphone"),
    ),
    "no reaction": (
        during(WELL, asked=8.0),
        Cause.SERVER_NO_REACTION,
        "downlink",
        ("8 s ago", "unless nobody has spoken", "speech recognition"),
    ),
    "no reaction to a stream": (
        during(WELL, reactions=0, listening=20.0, listened=330),
        Cause.SERVER_NO_REACTION,
        "downlink",
        ("for 20 s", "unless nobody has spoken"),
    ),
    "understood": (
        during(WELL, understood=12.0),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("understood the speech 12 s ago", "language model"),
    ),
    "tts start": (
        during(WELL, speaking=12.0),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("12 s ago (tts start)",),
    ),
    "mute turn": (
        during(WELL, mute_turns=1),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("subtitles but no sound", "speech synthesis"),
    ),
    "audio without header": (
        during(WELL, audio=0, sent=0, headless=40, server="ws://10.0.0.5:8000/xiaozhi/v1/"),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("40 binary messages", "has to end with ?from=mqtt_gateway; only with that"),
    ),
    "audio without header in spite of all": (
        during(WELL, audio=0, sent=0, headless=40),
        Cause.SERVER_NO_AUDIO,
        "downlink",
        ("40 binary messages", "does a proxy in front"),
    ),
    "audio without tts start": (
        during(WELL, played=False),
        Cause.NO_TTS_START,
        "playback",
        ("40 packets of audio", "tts start"),
    ),
    "nothing but audio": (
        during(WELL, played=False, reactions=0, listening=30.0, listened=9, asked=9.0),
        Cause.NO_TTS_START,
        "playback",
        ("40 packets of audio", "tts start"),
    ),
}

# What looks a little like a fault, and is none, or none yet.
NO_FAULTS: dict[str, Findings] = {
    "idle": IDLE,
    "well": TALKING,
    "ping on its way": replace(TALKING, unanswered=4.9),
    "wrong topic besides": replace(TALKING, wrong_topic="other", bad_messages=1),
    "wrong topic of one that answers": replace(IDLE, wrong_topic="other", answers=True),
    "bad messages of one that answers": replace(IDLE, bad_messages=1, answers=True),
    "an earlier hello failed": replace(TALKING, attempt=Attempt(9.0, "no", True)),
    "an earlier dial failed": replace(TALKING, attempt=Attempt(9.0, "no", tried=(SILENT,))),
    "reaching": replace(IDLE, hello=2.0, reaching=True),
    "just answered": during(DEAF, age=3.9),
    "just answered, doubted": during(DEAF, age=3.9, received=9, refused={"implausible": 9}),
    "some nonsense": during(WELL, refused={"implausible": 150}),
    "few strays": during(WELL, strays=100),
    "late ones": during(WELL, refused={"old_sequence": 9, "wrong_length": 1}),
    "just began to listen": during(WELL, listening=3.9),
    "listens": during(WELL, listening=30.0, listened=9),
    "just asked": during(WELL, asked=7.9),
    "has not spoken yet": during(WELL, reactions=0, listening=19.0, listened=9, played=True),
    "just understood": during(WELL, understood=11.9),
    "begins to speak": during(WELL, speaking=11.9),
    "speaks": during(WELL, speaking=30.0, spoken=1),
    "a few packets before tts": during(WELL, played=False, audio=5),
    "early audio": during(WELL, played=False, age=3.9),
    "some audio without header": during(WELL, headless=1),
    "one odd message": during(WELL, audio=0, sent=0, headless=1),
    "private address told to one inside": during(WELL, told=("10.0.0.5", 8884)),
    "call": during(WELL, in_call=True, asked=99.0, mute_turns=1, played=False),
    "same machine": replace(
        during(WELL, told=("127.0.0.1", 8884), local_ip="127.0.0.1"), peer_ip="127.0.0.1"
    ),
}


class CauseTests(SynchronousTestCase):
    """One cause, or none."""

    def test_faults(self) -> None:
        """Each fault has its cause, its failing item, and a sentence that says what to do."""
        for name, (findings, cause, check, words) in FAULTS.items():
            diagnosis = diagnose(findings)
            assert diagnosis.found is not None, name
            self.assertEqual((diagnosis.found.cause, diagnosis.found.check), (cause, check), name)
            for each in words:
                self.assertIn(each, diagnosis.found.sentence, name)
            failed = {c.name: c.text for c in diagnosis.checks if c.state is State.FAILED}
            self.assertEqual(failed, {check: diagnosis.found.sentence}, name)

    def test_every_cause(self) -> None:
        """No cause is without a fault that shows it."""
        self.assertEqual({cause for _, cause, _, _ in FAULTS.values()}, set(Cause))

    def test_no_faults(self) -> None:
        """Nothing is told too early, nor of what is no fault."""
        for name, findings in NO_FAULTS.items():
            diagnosis = diagnose(findings)
            self.assertIsNone(diagnosis.found, name)
            self.assertNotIn(State.FAILED, [check.state for check in diagnosis.checks], name)

    def test_loopback_on_the_same_machine(self) -> None:
        """A device that runs here may be told the loopback address; UDP is looked for as usual."""
        here = during(DEAF, told=("127.0.0.1", 8884), local_ip="127.0.0.1")
        found = diagnose(replace(here, peer_ip="127.0.0.1")).found
        assert found is not None
        self.assertEqual(found.cause, Cause.NO_UDP)
        found = diagnose(replace(here, peer_ip="device")).found
        assert found is not None
        self.assertEqual(found.cause, Cause.WRONG_ADDRESS)

    def test_last_session(self) -> None:
        """At rest, what was wrong with the session before; not once a new one begins."""
        last = Found(Cause.NO_UDP, "uplink", say("udp_open", port=8884, host="192.168.0.7"))
        rest = replace(IDLE, hello=60.0, last=last, ended=7.0)
        diagnosis = diagnose(rest)
        assert diagnosis.found is not None
        self.assertEqual(diagnosis.found.cause, Cause.NO_UDP)
        sentence = diagnosis.found.sentence
        self.assertEqual(sentence, "in the session that ended 7 s ago: " + last.sentence)
        self.assertEqual([part["id"] for part in sentence.parts], ["last_session", "udp_open"])
        self.assertNotIn(State.FAILED, [check.state for check in diagnosis.checks])
        self.assertIsNone(diagnose(replace(rest, reaching=True)).found)
        self.assertIsNone(diagnose(replace(rest, talk=WELL)).found)


class ChecklistTests(SynchronousTestCase):
    """Item by item, whatever the cause."""

    def states(self, findings: Findings) -> dict[str, str]:
        """Each item's state."""
        told = diagnose(findings).as_json()["checks"]
        self.assertEqual([check["name"] for check in told], list(CHECKS))
        return {check["name"]: check["state"] for check in told}

    def test_idle(self) -> None:
        """Only the connection is to be expected."""
        self.assertEqual(self.states(IDLE), {**dict.fromkeys(CHECKS, "none"), "mqtt": "ok"})

    def test_reaching(self) -> None:
        """The server is the next to be waited for, then its hello."""
        reaching = replace(IDLE, hello=1.0, reaching=True)
        none = dict.fromkeys(("uplink", "downlink", "playback"), "none")
        well = {"mqtt": "ok", "hello": "ok"}
        waiting = {"server": "waiting", "server_hello": "waiting"}
        self.assertEqual(self.states(reaching), {**well, **waiting, **none})
        states = self.states(replace(reaching, greeted=True))
        self.assertEqual(states, {**well, **waiting, "server": "ok", **none})

    def test_open(self) -> None:
        """A fresh session waits for audio both ways and for playback."""
        states = self.states(during(DEAF, age=1.0))
        audio = dict.fromkeys(("uplink", "downlink", "playback"), "waiting")
        self.assertEqual(states, {**dict.fromkeys(CHECKS, "ok"), **audio})
        self.assertEqual(self.states(during(DEAF, age=1.0, waiting=3))["downlink"], "waiting")

    def test_well(self) -> None:
        """All of it."""
        self.assertEqual(self.states(TALKING), dict.fromkeys(CHECKS, "ok"))
        texts = {c.name: c.text for c in diagnose(during(WELL, speaking=1.0)).checks}
        self.assertEqual(texts["playback"], "tts start")
        self.assertEqual(texts["uplink"], "50 packets of audio")

    def test_call(self) -> None:
        """There is no server, so nothing is to be expected of it."""
        states = self.states(during(WELL, in_call=True))
        none = dict.fromkeys(("server", "server_hello", "playback"), "none")
        self.assertEqual(states, {**dict.fromkeys(CHECKS, "ok"), **none})

    def test_all_is_well(self) -> None:
        """What the API shows when nothing is wrong."""
        told = diagnose(TALKING).as_json()
        self.assertEqual((told["cause"], told["sentence"]), (None, "all is well"))
