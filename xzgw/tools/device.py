"""A simulated device to try any gateway with: `python -m xzgw.tools.device --help`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from xzgw.tools import speech
from xzgw.tools.device_voice import Voice
from xzgw.tools.identity import Identity
from xzgw.tools.pacing import FRAME_SECONDS
from xzgw.tools.report import milliseconds
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import StepError

__all__ = ["Identity", "SimulatedDevice", "main"]

KEY_VARIABLE = "MQTT_SIGNATURE_KEY"

_DESCRIPTION = """
Connects to a gateway as a xiaozhi device does, opens a session, speaks, and reports what comes
back. The exit status is 0 if every step worked; otherwise the last line names the one that failed.
"""


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the process where it is wrong."""
    me = Identity()
    parser = argparse.ArgumentParser(prog="python -m xzgw.tools.device", description=_DESCRIPTION)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the gateway (%(default)s)")
    add("--port", type=int, default=1883, help="its MQTT port (%(default)s)")
    add("--key", help=f"signature key; better in {KEY_VARIABLE}: others can see a command line")
    add("--mac", default=me.mac, help="the device's MAC, with colons (%(default)s)")
    add("--uuid", default=me.uuid, help="the device's uuid (%(default)s)")
    add("--group", default=me.group, help="first part of the client id (%(default)s)")
    add("--frames", type=int, default=64, help="packets of 60 ms to speak (%(default)s)")
    add("--seconds", type=float, default=15.0, help="how long to wait for a reply (%(default)s)")
    given = parser.parse_args(arguments)
    given.key = given.key or os.environ.get(KEY_VARIABLE)
    if not given.key:
        parser.error(f"a signature key is needed: set {KEY_VARIABLE} or give --key")
    if given.frames < 0 or given.seconds <= 0:
        parser.error("--frames must not be negative, --seconds must be positive")
    return given


async def converse(device: SimulatedDevice, given: argparse.Namespace) -> None:
    """One whole conversation. Raises StepError."""
    await device.connect(given.host, given.port)
    await device.ping()
    print("<- PINGRESP")
    await device.hello()
    if given.frames:
        device.listen("start", mode="manual")
        await device.speak(list(islice(cycle(speech.packets()), given.frames)))
        print(f"-> {given.frames} packets of audio over UDP")
        device.listen("stop")
        await device.hear(1, given.seconds)
        print("<- the first audio packet")
        await device.expect("tts", given.seconds, state="stop")
    device.goodbye()
    await device.disconnect()
    print("-> DISCONNECT")


def report(voice: Voice | None) -> list[str]:
    """The figures of a session, one line each."""
    if voice is None:
        return []
    gaps = [later.at - earlier.at for earlier, later in pairwise(voice.heard)]
    lines = [
        f"sent {len(voice.sent_at)} packets, heard {len(voice.heard)}, lost {voice.lost}",
        *(f"dropped {count} datagrams for their {why}" for why, count in voice.dropped.items()),
    ]
    if voice.refused:
        lines.append(f"the network refused our datagrams {voice.refused} times")
    if voice.heard and voice.sent_at:
        answered = voice.heard[0].at - voice.sent_at[-1]
        lines.append(f"the first packet came {answered:.2f} s after our last")
    if gaps:
        lines.append(milliseconds(f"between (want {1000 * FRAME_SECONDS:.0f})", gaps))
    return lines


async def run(reactor: Any, given: argparse.Namespace) -> None:
    """Converse and report. Raises SystemExit with a sentence when a step fails."""
    identity = Identity(given.mac, given.uuid, given.group)
    device = SimulatedDevice(reactor, identity, given.key, say=print)
    failure: StepError | None = None
    try:
        await converse(device, given)
    except StepError as e:
        failure = e
        await device.disconnect()
    print(*report(device.voice), sep="\n")
    if failure is not None:
        raise SystemExit(f"FAILED: {failure}")
    print("PASSED")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the conversation; the exit status tells whether it worked."""
    given = options(arguments)
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, given)))


if __name__ == "__main__":
    main()
