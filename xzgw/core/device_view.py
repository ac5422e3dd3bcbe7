"""What is known of one device, as plain values."""

from __future__ import annotations

from xzgw.core.device import Device
from xzgw.core.door import DeviceView
from xzgw.core.services import Services
from xzgw.core.voice_session import VoiceSession
from xzgw.wire.messages import Json


def view(device: Device, services: Services) -> DeviceView:
    """Everything; times become unix seconds."""
    peer = device.peer
    ahead = services.now() - services.clock.seconds()  # of the clock
    voice = device.voice
    talking = 0.0 if voice is None else services.clock.seconds() - voice.started_at
    told = {} if voice is None else voice.told()
    return DeviceView(
        client_id=peer.client_id,
        group=peer.identity.group,
        mac=peer.identity.mac,
        uuid=peer.identity.uuid,
        presence=device.presence,
        mqtt={
            "connected_since": device.connected_at + ahead,
            "last_seen": device.seen_at + ahead,
            "address": peer.ip,
            "keep_alive": peer.keep_alive,
            "messages": device.intake.messages,
            "messages_refused": device.intake.refused,
            "messages_over_limit": device.intake.limit.refused,
        },
        session=None if voice is None else _session(device, voice, ahead),
        udp=told.get("udp"),
        times=told.get("times"),
        quality=told.get("quality"),
        diagnosis=device.checkup.diagnosis().as_json(),
        talk_seconds_today=services.talk.today(peer.client_id) + talking,
        tools={
            "count": device.mcp.tools_count,
            "complete": device.mcp.complete,
            "status": device.mcp.status,
        },
    )


def _session(device: Device, voice: VoiceSession, ahead: float) -> Json:
    return {
        "id": voice.session_id,
        "server": voice.server,
        "since": voice.started_at + ahead,
        "device_audio": device.device_audio,
        "server_audio": voice.server_audio,
    }
