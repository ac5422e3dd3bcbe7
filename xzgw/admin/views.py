"""What devices, chat servers and the configuration look like in JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from xzgw.core.door import BackendView, DeviceView, Status
from xzgw.core.totals import Totals
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
        "times": view.times,
        "quality": view.quality,
        "diagnosis": view.diagnosis,
        "talk_seconds_today": round(view.talk_seconds_today, 3),
        "tools": view.tools,
    }


def backend(view: BackendView) -> Json:
    """Everything known of one chat server."""
    return {
        "url": view.url,
        "groups": list(view.groups),
        "weight": view.weight,
        "sessions": view.sessions,
        "failures": view.failures,
        "state": view.state.value,
        "last_error": view.last_error or None,
        "next_try": None if view.next_try is None else rfc3339(view.next_try),
    }


def status(view: Status, totals: Totals) -> Json:
    """How the gateway is doing, and what its sessions have come to so far."""
    audio = totals.audio
    return {
        "version": view.version,
        "uptime_seconds": round(view.uptime, 3),
        "draining": view.draining,
        "stopping": view.stopping,
        "troubles": list(view.troubles),
        "trouble_parts": [trouble.parts for trouble in view.troubles],
        "devices": view.devices,
        "unauthenticated": view.unauthenticated,
        "sessions": view.sessions,
        "api_connections": view.api_connections,
        "audio": {
            "up": {
                "packets": audio.forwarded,
                "bytes": audio.forwarded_bytes,
                "lost": audio.lost,
                "late": audio.late,
                "duplicate": audio.duplicate,
                "refused": audio.refused,
            },
            "down": {
                "packets": audio.sent_packets,
                "bytes": audio.sent_bytes,
                "dropped": audio.dropped,
            },
        },
        "limits": {
            name: {"value": limit.value, "used": limit.used} for name, limit in view.limits.items()
        },
        "refused": dict(view.refused),
        "counts": dict(view.counts),
        "held": dict(view.held),
    }


def configuration(report: Json) -> Json:
    """The report of xzgw.reload, with times for people."""
    refused = report["not_taken"]
    return {
        **_with_times(report, "read_at"),
        "not_taken": None if refused is None else _with_times(refused, "at"),
    }


def rfc3339(unix_time: float) -> str:
    """Like 2026-01-31T12:00:00.000Z."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _with_times(members: Json, *names: str) -> Json:
    times = {name: members[name] for name in names if members.get(name) is not None}
    return {**members, **{name: rfc3339(value) for name, value in times.items()}}
