"""Calls between two devices: request, wake-up, waiting, bridge, end.

A device in a call keeps its audio channel and session id, but has no server. While it waits for
the other one, each of its packets is answered with silence, so that it does not take the quiet
for a broken connection. Whichever way one side leaves, the other is told with its own session id.
Each side's audio is decrypted and encrypted again with its own key: no key goes from one to the
other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from xzgw.core.channel import AudioChannel
from xzgw.core.device import Device
from xzgw.core.door import CallResult, CallStatus, Presence
from xzgw.core.events import Events
from xzgw.core.session_types import CallEnded, CallEntered
from xzgw.wire import messages
from xzgw.wire.opus import SILENCE_60MS

ANSWER_TIME = 60.0  # s
WAKE_UP_TOOL = "self.remote_wakeup"


class _Call:
    """One call: asked for by `caller`, and bridged once `callee` is in it."""

    __slots__ = ("callee", "caller", "gone", "target_mac", "timer")

    def __init__(self, caller: Device, target_mac: str) -> None:
        self.caller = caller
        self.callee: Device | None = None
        self.target_mac = target_mac
        self.gone = False  # the caller has left before it was answered
        self.timer: IDelayedCall | None = None


class Calls:
    """All calls of this gateway."""

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, find: Callable[[str], Device | None], events: Events
    ) -> None:
        """
        Args:
            find: the connected device with a MAC (lower case), if any.
        """
        self._clock = clock
        self._find = find
        self._events = events
        self._calls: dict[Device, _Call] = {}  # by each device that is in one
        self._waiting: dict[str, _Call] = {}  # by the MAC that is called, until it is answered

    def request(self, caller_mac: str, target_mac: str, nickname: str) -> CallResult:
        """A device wants to talk to another one. MACs in any case."""
        caller, target = self._find(caller_mac.lower()), self._find(target_mac.lower())
        if target is None:
            return CallResult(CallStatus.OFFLINE, "the other device is not connected")
        if caller is None or caller is target:
            return _error("the calling device is not connected" if caller is None else "busy")
        asked = self._waiting.get(_mac(caller))
        if asked is not None and asked.caller is target and not asked.gone:
            return self._answer(asked, caller)
        own = self._calls.get(caller)
        if own is not None and own.callee is None and own.target_mac == _mac(target):
            return CallResult(CallStatus.PENDING, "the other device is being called already")
        if self._is_busy(target) or self._is_busy(caller):
            return _error("busy")
        if caller.presence is not Presence.LIVE:
            return _error("the calling device has no open session")
        self._start(caller, target, nickname)
        return CallResult(CallStatus.PENDING, "the other device is being called")

    def accept(self, mac: str) -> CallResult:
        """The device with this MAC takes the call that it was woken for."""
        call = self._waiting.get(mac.lower())
        if call is None:
            return CallResult(CallStatus.NO_PENDING, "nobody is calling this device")
        if call.gone:
            self._forget(call)
            return CallResult(CallStatus.CALLER_GONE, "the calling device has hung up")
        callee = self._find(mac.lower())
        if callee is None:
            return _error("this device is not connected")
        return self._answer(call, callee)

    def left(self, device: Device, reason: str) -> None:
        """A device has left its call by itself: goodbye, hello, or its connection is lost."""
        call = self._calls.pop(device, None)
        if call is None:
            return
        if call.callee is None:
            call.gone = True  # remembered until its time is up, for whoever answers it
            self._tell("cancelled", call, reason)
            return
        other = call.callee if device is call.caller else call.caller
        del self._calls[other]
        self._tell("ended", call, reason)
        other.feed(CallEnded("the other device has left the call"))

    def _start(self, caller: Device, target: Device, nickname: str) -> None:
        given_up = self._waiting.get(_mac(target))
        if given_up is not None:
            self._forget(given_up)
        caller.feed(CallEntered())
        call = _Call(caller, _mac(target))
        call.timer = self._clock.callLater(ANSWER_TIME, self._unanswered, call)
        self._calls[caller] = self._waiting[call.target_mac] = call
        channel = _channel(caller)
        channel.uplink = partial(_silence, channel)
        self._tell("requested", call, "")
        self._wake_up(target, nickname or caller.peer.identity.mac)

    def _wake_up(self, target: Device, nickname: str) -> None:
        text = f"[device_call]您收到来自{nickname}的来电，是否接听？"
        arguments = {"reason": text, "action": "listen"}
        params = {"name": WAKE_UP_TOOL, "arguments": arguments}
        target.mcp.call("tools/call", params).addErrback(
            lambda failure: self._log.warn(
                "call: {target} was not woken up: {why}",
                target=target.peer.client_id,
                why=failure.getErrorMessage(),
            )
        )

    def _answer(self, call: _Call, callee: Device) -> CallResult:
        if callee.presence is not Presence.LIVE:
            return _error("this device has no open session")
        self._forget(call)
        callee.feed(CallEntered())
        call.callee = callee
        self._calls[callee] = call
        one, other = _channel(call.caller), _channel(callee)
        one.uplink, other.uplink = partial(_relay, other), partial(_relay, one)
        accepted = {"type": "call_accepted", "from": callee.peer.identity.mac}
        call.caller.push(messages.encode(accepted))
        self._tell("bridged", call, "")
        return CallResult(CallStatus.BRIDGED, "both devices are connected")

    def _unanswered(self, call: _Call) -> None:
        self._forget(call)
        if not call.gone:
            del self._calls[call.caller]
            self._tell("unanswered", call, "")
            call.caller.feed(CallEnded("the call was not answered"))

    def _forget(self, call: _Call) -> None:
        """It waits no longer."""
        del self._waiting[call.target_mac]
        if call.timer is not None and call.timer.active():
            call.timer.cancel()

    def _is_busy(self, device: Device) -> bool:
        called = self._waiting.get(_mac(device))
        return device in self._calls or (called is not None and not called.gone)

    def _tell(self, state: str, call: _Call, reason: str) -> None:
        caller = call.caller.peer.client_id
        self._log.info(
            "call {state}: {caller} -> {target} {reason}",
            state=state,
            caller=caller,
            target=call.target_mac,
            reason=reason,
        )
        self._events.publish(
            "call", state=state, caller=caller, target_mac=call.target_mac, reason=reason
        )


def _silence(own: AudioChannel, sequence: int, timestamp: int, opus: bytes) -> None:
    """Uplink of a device that waits to be answered."""
    own.downlink(timestamp, SILENCE_60MS)


def _relay(other: AudioChannel, sequence: int, timestamp: int, opus: bytes) -> None:
    """Uplink of a device in a call."""
    other.downlink(timestamp, opus)


def _channel(device: Device) -> AudioChannel:
    """The audio channel of a device that is in a session or call."""
    if device.voice is None:
        raise AssertionError("a session without audio")
    return device.voice.channel


def _mac(device: Device) -> str:
    return device.peer.identity.mac.lower()


def _error(message: str) -> CallResult:
    return CallResult(CallStatus.ERROR, message)
