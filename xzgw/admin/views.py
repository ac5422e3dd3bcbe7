"""What devices look like in JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from xzgw.core.door import DeviceView
from xzgw.wire.messages import Json


def device(view: DeviceView) -> Json:
    """Everything known of one device; times are RFC 3339 texts in UTC."""
    return {
        "client_id": view.client_id,
        "group": view.group,
        "mac": view.mac,
        "uuid": view.uuid,
        "state": view.presence.value,
        "mqtt": _with_times(view.mqtt, "connected_since", "last_seen"),
        "session": None if view.session is None else _with_times(view.session, "since"),
        "udp": view.udp,
        "talk_seconds_today": round(view.talk_seconds_today, 3),
        "tools": view.tools,
    }


def rfc3339(unix_time: float) -> str:
    """Like 2026-01-31T12:00:00.000Z."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_times(members: Json, *names: str) -> Json:
    times = {name: members[name] for name in names if members.get(name) is not None}
    return {**members, **{name: rfc3339(value) for name, value in times.items()}}
