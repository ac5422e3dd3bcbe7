"""Finds the devices that are gone without a word, within a minute.

A device that loses its power or its network closes nothing, and MQTT's keep-alive notices after
1.5 times the device's own interval: six minutes for firmware. The kernel's keep-alive probes tell
within a minute whether the device's TCP still answers. While it does, the device is believed to be
there until it has been silent for longer than its MQTT keep-alive. Where TCP tells nothing, behind
a proxy for one, that is so only for a while. Then the device gets an MCP `ping`, which firmware
answers with an error, as it does any unknown method; what matters is that something comes.

Devices are different, so only one that has answered a ping before is held to it: each is asked once
as soon as it has answered anything of MCP, when it is surely there. If nothing comes, for it may
just have been busy, it is asked again in its next silence, once in each and to no harm. Without MCP
there is no question that it would answer.

All devices are looked at once a second, which for 10,000 of them takes about two milliseconds;
there is no timer and no memory per device. Behind a proxy and idle, 10,000 of them get some 230
pings a second and send as many answers: one to two percent of one processor.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from xzgw.core.device import Device
from xzgw.core.door import Presence
from xzgw.core.gateway import Gateway
from xzgw.core.mcp import McpFailed, McpTimeout

LOOK_EVERY = 1.0  # s
PROBE_AFTER = 44.0  # s of silence; with the other two a minute at most
MAX_KEEP_ALIVE = 240.0  # s that TCP's word is taken for at most; firmware's keep-alive
ANSWER_TIME = 15.0  # s


class Liveness:
    """See the module's text."""

    def __init__(self, gateway: Gateway, clock: IReactorTime) -> None:
        self._gateway = gateway
        self._clock = clock
        self._asked: set[Device] = set()  # whose answer is being waited for

    def look(self) -> None:
        """Ask those who are due; to be called every LOOK_EVERY seconds."""
        if not self._gateway.services.config.probe_silent:
            return
        now = self._clock.seconds()
        for device in list(self._gateway.devices.values()):
            if device not in self._asked and _due(device, now):
                self._ask(device)

    def _ask(self, device: Device) -> None:
        self._asked.add(device)
        device.mcp.pinged_at = self._clock.seconds()
        asked = device.mcp.call("ping", None, ANSWER_TIME)
        asked.addBoth(partial(self._settled, device))
        asked.addCallbacks(
            partial(_answered, device),
            partial(self._failed, device, device.seen_at, _heard(device)),
        )

    def _settled(self, device: Device, outcome: Any) -> Any:
        self._asked.discard(device)
        return outcome

    def _failed(self, device: Device, seen_at: float, heard: int, failure: Failure) -> None:
        """An error is an answer; without one it matters what came since.

        Args:
            seen_at, heard: the device's, from when it was asked.
        """
        failure.trap(McpFailed)
        if device.presence is Presence.GONE:
            return
        if not failure.check(McpTimeout):
            device.mcp.answers_ping = True
        elif not device.mcp.answers_ping:
            pass  # perhaps it never does
        elif _heard(device) > heard:
            device.seen_at = self._clock.seconds()
        elif device.seen_at == seen_at:
            self._drop(device)

    def _drop(self, device: Device) -> None:
        silent = self._clock.seconds() - device.seen_at - ANSWER_TIME
        reason = f"silent for {silent:.0f} s, and no answer to an MCP ping in {ANSWER_TIME:g} s"
        device.checkup.given_up()
        device.disconnect(reason)
        # At once: closing TLS to nobody takes a while.
        self._gateway.leave(device, reason)


def _due(device: Device, now: float) -> bool:
    mcp, seen_at = device.mcp, device.seen_at
    if mcp.pinged_at is None:
        due = mcp.answered
    else:
        due = seen_at <= now - PROBE_AFTER and (mcp.answers_ping or seen_at > mcp.pinged_at)
        due = due and not _vouched(device, now)
    # While dialing, the main task of the firmware is blocked and answers nothing.
    return due and device.presence is not Presence.DIALING


def _vouched(device: Device, now: float) -> bool:
    """Whether TCP says that it is there, and it need not have said anything itself."""
    keep_alive = min(device.peer.keep_alive or MAX_KEEP_ALIVE, MAX_KEEP_ALIVE)
    if now - device.seen_at > keep_alive:
        return False
    quiet = device.quiet_for()
    return quiet is not None and quiet < PROBE_AFTER


def _answered(device: Device, _result: object) -> None:
    device.mcp.answers_ping = True


def _heard(device: Device) -> int:
    """Packets of audio that were believed, of the open session."""
    return 0 if device.voice is None else device.voice.channel.stats.forwarded
