"""Calls between two devices: request, wake-up, waiting, bridge, end.

A device in a call keeps its audio channel and session id, but has no server. While it waits for
the other one, each of its packets is answered with silence, so that it does not take the quiet
for a broken connection. Whichever way one side leaves, the other is told with its own session id;
so is the caller at once when the called one goes, says goodbye or refuses to be woken.
Each side's audio is decrypted and encrypted again with its own key: no key goes from one to the
other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.core.channel import AudioChannel
from xzgw.core.device import Device
from xzgw.core.door import CallResult, CallStatus, Presence
from xzgw.core.events import Events
from xzgw.core.rpc import McpError
from xzgw.core.session_types import CallEnded, CallEntered
from xzgw.wire import messages
from xzgw.wire.addresses import plain_mac
from xzgw.wire.opus import SILENCE_60MS

ANSWER_TIME = 60.0  # s
WAKE_UP_TOOL = "self.remote_wakeup"
NOT_WOKEN = "the called device refused to be woken up"
LONGEST_REASON = 200  # characters of a device's own words that are logged


class _Call:
    """One call: asked for by `caller`, and bridged once `callee` is in it.

    The callee may be another device than `target`, which was woken up: one with the same MAC.
    """

    __slots__ = ("callee", "caller", "gone", "talking", "target", "target_mac", "timer")

    def __init__(self, caller: Device, target: Device) -> None:
        self.caller = caller
        self.callee: Device | None = None
        self.target = target
        self.target_mac = _mac(target)
        self.talking = target.voice is not None  # in the session it had when it was woken up
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

    @property
    def devices(self) -> int:
        """How many are in a call, or wait in one to be answered."""
        return len(self._calls)

    def request(self, caller_mac: str, target_mac: str, nickname: str) -> CallResult:
        """A device wants to talk to another one. MACs in any case, with `:`, `-` or `_`."""
        caller, target = self._find(plain_mac(caller_mac)), self._find(plain_mac(target_mac))
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
        mac = plain_mac(mac)
        call = self._waiting.get(mac)
        if call is None:
            return CallResult(CallStatus.NO_PENDING, "nobody is calling this device")
        if call.gone:
            self._forget(call)
            return CallResult(CallStatus.CALLER_GONE, "the calling device has hung up")
        # Of several with this MAC, the one with a session. The target is there as long as it rings.
        return self._answer(call, self._find(mac) or call.target)

    def left(self, device: Device, reason: str) -> None:
        """A device has left its call by itself: goodbye, hello, or its connection is lost.

        Of one that is only being called: goodbye or loss. A goodbye to the session that it had
        when it was woken up tells nothing: it may make room for the one in which it answers.
        """
        call = self._calls.pop(device, None)
        if call is None:
            call = self._waiting.get(_mac(device))
            if call is not None and call.target is device:
                if call.talking and device.presence is not Presence.GONE:
                    call.talking = False
                else:
                    self._declined(call, reason)
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
        call = _Call(caller, target)
        call.timer = self._clock.callLater(ANSWER_TIME, self._unanswered, call, "")
        self._calls[caller] = self._waiting[call.target_mac] = call
        channel = _channel(caller)
        channel.uplink = partial(_silence, channel)
        self._tell("requested", call, "")
        self._wake_up(call, nickname or caller.peer.identity.mac)

    def _wake_up(self, call: _Call, nickname: str) -> None:
        text = f"[device_call]您收到来自{nickname}的来电，是否接听？"
        arguments = {"reason": text, "action": "listen"}
        params = {"name": WAKE_UP_TOOL, "arguments": arguments}
        waking = call.target.mcp.call("tools/call", params)
        waking.addCallbacks(self._woken, self._not_woken, (call,), errbackArgs=(call,))

    def _woken(self, result: object, call: _Call) -> None:
        if isinstance(result, dict) and result.get("isError") is True:
            self._declined(call, NOT_WOKEN)

    def _not_woken(self, failure: Failure, call: _Call) -> None:
        self._log.warn(
            "call: {target} was not woken up: {why}",
            target=call.target.peer.client_id,
            why=failure.getErrorMessage()[:LONGEST_REASON],
        )
        # One that does not reply may be busy with opening its session, and answer the call yet.
        if failure.check(McpError):
            self._declined(call, NOT_WOKEN)

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

    def _declined(self, call: _Call, reason: str) -> None:
        """Whoever is called will not answer; if it has answered already, nothing comes of it."""
        if not call.gone and self._waiting.get(call.target_mac) is call:
            self._unanswered(call, reason)

    def _unanswered(self, call: _Call, reason: str) -> None:
        self._forget(call)
        if not call.gone:
            del self._calls[call.caller]
            self._tell("unanswered", call, reason)
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
