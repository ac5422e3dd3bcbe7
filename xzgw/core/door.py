"""The one door to the devices: all that the admin API can see and do.

Every answer is a Deferred, so that later other processes and machines can stand behind the same
interface; nothing that passes here refers to an object of this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from xzgw.core.sayings import Saying
from xzgw.core.totals import Totals
from xzgw.core.trace_types import TraceDoor
from xzgw.wire.messages import Json


class NotConnected(Exception):
    """No device with this client id is connected."""


class Conflict(Exception):
    """The device is there, but not in a state for this. str() says why."""


class NoSuchBackend(Exception):
    """No chat server has this URL."""


class Presence(StrEnum):
    """What a device's session is doing."""

    IDLE = "idle"
    DIALING = "dialing"
    LIVE = "live"
    IN_CALL = "in_call"
    GONE = "gone"  # not connected any more; never listed


class CallStatus(StrEnum):
    PENDING = "pending"
    BRIDGED = "bridged"
    OFFLINE = "offline"
    NO_PENDING = "no_pending"
    CALLER_GONE = "caller_gone"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CallResult:
    status: CallStatus
    message: str


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One connected device, as plain values: everything known of it.

    Times are unix seconds, durations seconds; None where there is nothing to tell.
    """

    client_id: str
    group: str
    mac: str
    uuid: str
    presence: Presence
    mqtt: Json  # connected_since, last_seen, address, keep_alive, messages, refused
    session: Json | None  # id, server, since, device_audio, server_audio, server_link
    udp: Json | None  # address, up and down: packets, bytes, lost, jitter_ms ...; None as session
    talk_seconds_today: float
    tools: Json  # count, complete, status
    diagnosis: Json  # cause, sentence, checks: see core.findings.Diagnosis
    times: Json | None = None  # hello_to_reply_ms, ...; None without a session
    quality: Json | None = None  # score, why and its parts; None without audio


class BackendState(StrEnum):
    """Whether a chat server gets new sessions."""

    UP = "up"
    FAILING = "failing"  # it did not answer lately; others are preferred
    DRAINING = "draining"  # none, by the operator's wish


@dataclass(frozen=True, slots=True)
class BackendView:
    """One chat server.

    Attributes:
        url: without its secrets.
        groups: `production`, `development`; none if it is not configured any more.
        sessions: open or being opened.
        failures: of sessions and checks in a row, since it last answered.
        last_error: empty if there was none.
        next_try: unix seconds until which others are preferred; None if it may be tried now.
    """

    url: str
    groups: tuple[str, ...]
    weight: int
    sessions: int
    failures: int
    state: BackendState
    last_error: str
    next_try: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """Devices of one page, in order of client id; `next_after` starts the next, None at the end."""

    devices: tuple[DeviceView, ...]
    next_after: str | None
    total: int  # that match, on all pages


@dataclass(frozen=True, slots=True)
class Filter:
    """Which devices to list: None means any. MAC prefix in lower case with colons."""

    group: str | None = None
    presence: Presence | None = None
    mac_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Remaining:
    """What a gateway that is being drained has yet; of devices also those about to be let in."""

    devices: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Limit:
    """One setting that bounds something.

    Attributes:
        value: as configured now; 0 where that means none.
        used: how much of it is taken; None where that is not one number.
    """

    value: int
    used: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The gateway as a whole. What is counted is counted since its start.

    Attributes:
        uptime: s.
        unauthenticated: connections that have shown no good credentials yet.
        sessions: open or being opened.
        api_connections: of the admin API.
        draining, stopping: whether that has begun.
        troubles: why new devices should not be sent here; none if all is well.
        limits: by the name of the setting.
        refused: what found no room, by the name of the setting; `draining` for that.
        counts: whatever else is counted, by name.
        held: how much there is now of what lives and ends with devices and callers, by name.
    """

    version: str
    uptime: float
    devices: int
    unauthenticated: int
    sessions: int
    api_connections: int
    draining: bool
    stopping: bool
    troubles: tuple[Saying, ...]
    limits: Mapping[str, Limit]
    refused: Mapping[str, int]
    counts: Mapping[str, int]
    held: Mapping[str, int] = field(default_factory=dict)


class Door(TraceDoor, Protocol):
    """Methods that name a device fail with NotConnected when it is not there."""

    def find(self, client_id: str) -> Deferred[DeviceView]: ...

    def list(self, which: Filter, after: str, limit: int) -> Deferred[Page]:
        """Up to `limit` devices whose client id sorts behind `after`."""

    def presence(self, client_ids: Iterable[str]) -> Deferred[dict[str, Presence]]:
        """Those of these devices that are connected."""

    def command(
        self, client_id: str, method: str, params: Mapping[str, Any] | None, timeout: float
    ) -> Deferred[Any]:
        """One MCP request to the device; its result, any JSON value.

        Cancelling forgets the request. Fails with McpError, McpTimeout or McpClosed
        (xzgw.core.mcp), too.
        """

    def tools(self, client_id: str) -> Deferred[Json]:
        """`tools` (a list), `complete` (whether it is all of them), `status` (a sentence)."""

    def push(self, client_id: str, message: Json) -> Deferred[None]:
        """Publish one JSON message to the device."""

    def end_session(self, client_id: str) -> Deferred[None]:
        """End its session with a goodbye. Fails with Conflict when none is open."""

    def disconnect(self, client_id: str) -> Deferred[None]:
        """Close its MQTT connection, and with it its session."""

    def request_call(self, caller_mac: str, target_mac: str, nickname: str) -> Deferred[CallResult]:
        """Start a call between two devices; MACs in any case."""

    def accept_call(self, mac: str) -> Deferred[CallResult]:
        """The device with this MAC takes the call it was woken for."""

    def status(self) -> Deferred[Status]:
        """How the gateway is doing."""

    def totals(self) -> Deferred[Totals]:
        """What all sessions come to, since the start."""

    def drain(self) -> Deferred[Remaining]:
        """Start to let devices go; once it has started, only tells what is left."""

    def backends(self) -> Deferred[tuple[BackendView, ...]]:
        """The chat servers, those not configured any more only while they have sessions."""

    def drain_backend(self, url: str, draining: bool) -> Deferred[None]:
        """Give a chat server no new sessions, or give it some again; open ones stay.

        `url` is as configured, or as `backends` tells it. Fails with NoSuchBackend; with Conflict
        when several servers look like this.
        """
