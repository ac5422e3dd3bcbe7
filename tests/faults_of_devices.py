"""What a device itself does wrong, or what becomes of it."""

from __future__ import annotations

import json

from tests.diagnosing import LATER, Afflicted, fault
from tests.stream_device import HELLO
from tests.support import PATIENCE, SPEECH
from xzgw.core.findings import Cause
from xzgw.wire.packets import Publish


@fault(Cause.BAD_HELLO, "hello", "refused: hello version 3 is required", "the firmware has to")
def bad_hello(one: Afflicted) -> None:
    """It speaks another version."""
    one.connect().say({**HELLO, "version": 2})


@fault(Cause.WRONG_TOPIC, "hello", "publishes on 'device/server'", "publish_topic")
def wrong_topic(one: Afflicted) -> None:
    """It publishes where nobody listens."""
    one.connect().send(Publish("device/server", json.dumps(HELLO).encode()))


@fault(Cause.BAD_MESSAGES, "hello", "2 messages that are no JSON objects", "its firmware has to")
def bad_messages(one: Afflicted) -> None:
    """It speaks another protocol."""
    one.connect().send(Publish("device-server", b"\x01\x02"), Publish("device-server", b"[]"))


@fault(Cause.DEVICE_SILENT, "uplink", "sends no audio since, though it did before", "microphone")
def silent(one: Afflicted) -> None:
    """It says that it listens, and is not heard any more."""
    theirs, udp = one.greet()
    one.voice(udp).speak(SPEECH[0])
    theirs.recv(PATIENCE)
    one.listen("start")


@fault(
    Cause.MQTT_GONE,
    "mqtt",
    "no answer to an MCP ping",
    "its power",
    "Wi-Fi",
    alert=False,
    within=LATER,
)
def gone(one: Afflicted) -> None:
    """Its power fails; of its TCP nobody knows, for a proxy is in between."""
    device = one.connect(through=one.address)
    while True:
        payload = device.told("mcp")["payload"]
        if "id" in payload:
            reply = {"jsonrpc": "2.0", "id": payload["id"], "error": {"message": "no"}}
            device.say({"type": "mcp", "session_id": "", "payload": reply})
        if payload["method"] == "ping":
            return
