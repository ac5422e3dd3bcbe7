"""Devices with good credentials that send too much, or nonsense."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterable

from tests.hostile.attack import CROWD, PER_DEVICE, cut_off, devices, kept, one_by_one
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATIENCE, reset
from xzgw.wire import messages
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Pingreq, Pingresp, Publish, Suback, Subscribe

TOPIC = "device-server"
MAX_PAYLOAD = 1 << 20  # bytes, the default
FILTERS = 4000  # in just under 16 KiB
PINGS = 10_000
TOO_MANY = 3000  # messages at once; message_burst is 1000
HELLOS = 100

# What the parser, the session and the chat server's side are to survive.
BOMBS = (
    b"",
    b"[]",
    b"null",
    b'"text"',
    b"{",
    b"\xff\xfe{}",
    b'{"type":"hello","version":NaN}',
    b'{"type":"listen","n":1e999}',
    b'{"type":"listen","n":' + b"9" * 4301 + b"}",
    b'{"type":"listen","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"type":"listen","a":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    b'{"type":"listen","a":[' + b"[]," * 100_000 + b"[]]}",
    b"{" + b",".join(b'"%d":0' % n for n in range(50_000)) + b"}",
    b'{"type":' + b'{"type":' * 90 + b"1" + b"}" * 91,
    b'{"type":"\\ud800","session_id":"\\udfff"}',
    b'{"type":["hello"],"session_id":{}}',
    b'{"type":"mcp","payload":[]}',
    b'{"type":"goodbye","session_id":17}',
    b'{"type":"' + b"x" * (MAX_PAYLOAD - 11) + b'"}',
)
_ODD: tuple[dict[str, object], ...] = (
    {"version": 2},
    {"version": "3"},
    {"version": None},
    {"transport": "websocket"},
    {"audio_params": None},
    {"audio_params": []},
    {"audio_params": {"frame_duration": -1}},
    {"audio_params": {"frame_duration": 1e300, "sample_rate": "x"}},
    {"audio_params": {"frame_duration": [60]}},
    {"features": "mcp"},
    {"session_id": "s" * 10_000},
    {"text_font": [[[[{}]]]] * 100},
)
ODD_HELLOS = tuple({**HELLO, **odd} for odd in _ODD)
IDS: tuple[object, ...] = (
    *(None, "x", "", 0, -1, 1, 1.0, 1.5, True, [], {}, [1], 2**31, 2**53, 2**64, -(2**63)),
    *(0x40000000, 0x7FFFFFFF),
)


def publishes(payloads: Iterable[bytes]) -> bytes:
    return b"".join(encode(Publish(TOPIC, each)) for each in payloads)


def arrivals(target: Target) -> None:
    """Each comes with good credentials and goes at once."""
    for number in range(4 * CROWD):
        with target.device(number).socket as connection:
            connection.sendall(b"\xe0\x00")


def unfinished(target: Target) -> None:
    """A PUBLISH of 1 MiB whose end never comes, and no word of leaving."""
    begun = encode(Publish(TOPIC, b"x" * MAX_PAYLOAD))[:-1]
    with devices(target, range(5)) as crowd:
        for each in crowd:
            each.socket.sendall(begun)
            reset(each.socket)


def bombs(target: Target) -> None:
    with devices(target, range(2)) as crowd:
        for device in crowd:
            for bomb in BOMBS:
                device.send(Publish(TOPIC, bomb), Pingreq())
                device.next(Pingresp)


def bombs_in_session(target: Target) -> None:
    """What is JSON is passed on, and comes back from this server as it was."""
    with devices(target, [1]) as (device,):
        device.say(HELLO)
        device.told("hello")
        for bomb in BOMBS:
            if b"goodbye" not in bomb:
                device.send(Publish(TOPIC, bomb))
        device.say({"type": "last"})
        device.told("last")


def hello_flood(target: Target) -> None:
    """Many hellos at once; the newest counts."""
    hello = encode(Publish(TOPIC, messages.encode(HELLO)))
    with devices(target, range(5)) as crowd:
        for device in crowd:
            device.socket.sendall(hello * HELLOS)
        for device in crowd:
            device.told("hello")
            device.say({"type": "last"})
            while device_told(device).get("type") != "last":
                pass


def device_told(device: RawDevice) -> dict[str, object]:
    message: dict[str, object] = json.loads(device.next(Publish).payload)
    return message


def come_and_go(target: Target) -> None:
    """Hello, goodbye, and again, faster than any server answers."""
    pair = publishes((messages.encode(HELLO), b'{"type":"goodbye"}'))
    kept(pair * HELLOS, count=5)(target)


def odd_hellos(target: Target) -> None:
    """Each is answered, with a session or an error."""
    with devices(target, [1]) as (device,):
        for hello in ODD_HELLOS:
            device.say(hello)
            kind = "mcp"
            while kind == "mcp":  # our own questions
                kind = str(device_told(device)["type"])
            assert kind in ("hello", "error"), f"{hello}: told {kind}"
            device.say({"type": "goodbye"})


def replies(ids: Iterable[object]) -> bytes:
    """Answers to questions that nobody asked."""
    results: list[dict[str, object]] = [
        {"result": None},
        {"result": []},
        {"result": {"tools": 1}},
        {"error": None},
        {"error": 7},
        {"error": {"message": {}}},
        {"method": "x"},
        {},
    ]
    return publishes(
        messages.mcp({"jsonrpc": "2.0", "id": each, **result})
        for each, result in itertools.product(ids, results)
    )


def mcp_nonsense(target: Target) -> None:
    """The gateway's own question answered with nonsense, many times over."""
    with devices(target, range(5)) as crowd:
        for device in crowd:
            asked = messages.parse(device.next(Publish).payload)["payload"]["id"]
            device.socket.sendall(replies((*IDS, asked, asked + 1)))
            device.send(Pingreq())
            device.next(Pingresp)


def endless_tools(target: Target) -> None:
    """Each page of tools announces another one."""
    tools = [{"name": f"self.tool{n}", "description": "x" * 500} for n in range(10)]
    with devices(target, range(5)) as crowd:
        for device in crowd:
            for page in range(20):
                try:
                    device.socket.settimeout(PATIENCE if page < 10 else 0.05)
                    payload = device_told(device)["payload"]
                except TimeoutError:
                    break
                assert isinstance(payload, dict)
                if "id" not in payload:
                    continue
                result = {"tools": tools, "nextCursor": f"page{page}"}
                reply = {"jsonrpc": "2.0", "id": payload["id"], "result": result}
                device.say({"type": "mcp", "session_id": "", "payload": reply})
            else:
                raise AssertionError("asked for 20 pages")


def not_reading(target: Target) -> None:
    """Devices that do not take what their server echoes."""
    text = messages.encode({"type": "echo", "text": "x" * 200_000})
    with devices(target, range(3)) as crowd:
        for device in crowd:
            device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            device.say(HELLO)
            device.told("hello")
            try:
                for _ in range(200):
                    device.send(Publish(TOPIC, text))
            except ConnectionError:
                continue
            raise AssertionError("40 MB are waiting for a device that does not read")


MESSAGES = (
    Case(
        "floods: CONNECT with good credentials",
        "each is served",
        arrivals,
        lines=4 * CROWD * PER_DEVICE,
    ),
    Case(
        "floods: PUBLISH of junk",
        "dropped beyond message_burst, then closed; three lines in the log",
        cut_off(encode(Publish(TOPIC, b"junk")) * TOO_MANY, 5),
        lines=5 * (PER_DEVICE + 2),
    ),
    Case(
        "floods: PUBLISH to other topics",
        "the same",
        cut_off(encode(Publish("devices/p2p/02_00_00_00_ff_ff", b"{}")) * TOO_MANY, 5),
        lines=5 * (PER_DEVICE + 2),
    ),
    Case(
        "floods: PUBLISH above max_mqtt_payload_size",
        "closed before it is read",
        cut_off(encode(Publish(TOPIC, b"x" * (MAX_PAYLOAD + 1)))[:64]),
        lines=CROWD * PER_DEVICE,
    ),
    Case(
        "floods: PUBLISH of 1 MiB, never finished",
        "its memory is free again when the connection is gone",
        unfinished,
        lines=5 * PER_DEVICE,
    ),
    Case(
        "floods: SUBSCRIBE to thousands of topics",
        "answered in one SUBACK; above 16 KiB closed",
        one_by_one(
            kept(
                encode(Subscribe(1, (("a", 0),) * FILTERS)) * 5,
                [Suback(1, (128,) * FILTERS)] * 5,
                5,
            ),
            cut_off(Subscribe(1, (("a", 0),) * 5000), 5),
        ),
        lines=10 * PER_DEVICE,
    ),
    Case(
        "floods: PINGREQ",
        "each is answered",
        kept(encode(Pingreq()) * PINGS, [Pingresp()] * PINGS, 2),
        lines=2 * PER_DEVICE,
    ),
    Case(
        "floods: JSON bombs",
        "dropped, and counted; one line in the log",
        bombs,
        lines=2 * (PER_DEVICE + 2),
    ),
)

SESSIONS = (
    Case(
        "floods: JSON bombs in a session",
        "what is no JSON object is dropped, the rest is passed on as it is",
        bombs_in_session,
        lines=PER_DEVICE + 6,
    ),
    Case(
        "floods: hello",
        "one dial at a time; the newest hello gets its session",
        hello_flood,
        lines=5 * (PER_DEVICE + 6),
    ),
    Case(
        "floods: hello and goodbye in turn",
        "nothing is left over",
        come_and_go,
        lines=5 * (PER_DEVICE + 6),
    ),
    Case(
        "floods: odd hellos",
        "each gets a session or an error",
        odd_hellos,
        lines=PER_DEVICE + 3 * len(ODD_HELLOS),
    ),
    Case(
        "floods: MCP replies with weird ids",
        "dropped; only the first to a question of ours counts",
        mcp_nonsense,
        lines=5 * PER_DEVICE,
    ),
    Case(
        "floods: tools without end",
        "not asked for beyond max_tools_count",
        endless_tools,
        lines=5 * PER_DEVICE,
    ),
    Case(
        "floods: a device that does not read",
        "reset when 256 KiB wait for it",
        not_reading,
        lines=3 * (PER_DEVICE + 3),
    ),
)

CASES = MESSAGES + SESSIONS
