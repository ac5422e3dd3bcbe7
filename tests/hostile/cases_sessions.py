"""Devices with good credentials that say hello too often, oddly, or do not listen."""

from __future__ import annotations

import itertools
import json
import select
import socket
from collections.abc import Iterable

from tests.hostile.attack import PER_DEVICE, devices, kept
from tests.hostile.caller import LAST, ask
from tests.hostile.cases_floods import BOMBS, TOPIC, publishes
from tests.hostile.harness import Case, Target
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATIENCE
from xzgw.wire import messages
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Pingreq, Pingresp, Publish

HELLOS = 100
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
    {"text_font": "x" * 1_000_000},
    {"text_font": "1e15"},
)
# Written again as JSON, 1e15 takes four times as much.
_NUMBERS = b"[" + b"1e15," * 60_000 + b"1e15]"
ODD_HELLOS = tuple(messages.encode({**HELLO, **odd}).replace(b'"1e15"', _NUMBERS) for odd in _ODD)
IDS: tuple[object, ...] = (
    *(None, "x", "", 0, -1, 1, 1.0, 1.5, True, [], {}, [1], 2**31, 2**53, 2**64, -(2**63)),
    *(0x40000000, 0x7FFFFFFF),
)


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
            device.send(Publish(TOPIC, hello))
            kind = "mcp"
            while kind == "mcp":  # our own questions
                kind = str(device_told(device)["type"])
            assert kind in ("hello", "error"), f"{hello[:200]!r}: told {kind}"
            device.say({"type": "goodbye"})
    got = ask(target, b"GET /readyz HTTP/1.1\r\n" + LAST + b"\r\n")
    assert got == [200], f"a server is blamed: {got}"


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
    """Devices that do not take what their server says."""
    text = messages.encode({"type": "echo", "repeat": 100, "text": "x" * 200_000})
    with devices(target, range(3)) as crowd:
        ends = select.poll()
        for device in crowd:
            device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            device.say(HELLO)
            device.told("hello")
            device.send(Publish(TOPIC, text))
            ends.register(device.socket, select.POLLHUP)
        left = len(crowd)
        while left and (ended := ends.poll(1000 * PATIENCE)):
            left -= len(ended)
            for number, _ in ended:
                ends.unregister(number)
        assert not left, f"20 MB are waiting for {left} devices that do not read"


CASES = (
    Case(
        "floods: JSON bombs in a session",
        "what is no JSON object is dropped, the rest is passed on as it is",
        bombs_in_session,
        lines=PER_DEVICE + 7,
    ),
    Case(
        "floods: hello",
        "one dial at a time; the newest hello gets its session",
        hello_flood,
        lines=5 * (PER_DEVICE + 7),
    ),
    Case(
        "floods: hello and goodbye in turn",
        "nothing is left over",
        come_and_go,
        lines=5 * (PER_DEVICE + 7),
    ),
    Case(
        "floods: odd hellos",
        "each gets a session or an error",
        odd_hellos,
        lines=PER_DEVICE + 4 * len(ODD_HELLOS),
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
        lines=3 * (PER_DEVICE + 4),
    ),
)
