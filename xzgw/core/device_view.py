"""What is known of one device, as plain values."""

from __future__ import annotations

from xzgw.core.device import Device
from xzgw.core.door import DeviceView
from xzgw.core.services import Services
from xzgw.core.voice_session import VoiceSession
from xzgw.wire.addresses import short_ip
from xzgw.wire.messages import Json


def view(device: Device, services: Services) -> DeviceView:
    """Everything; times become unix seconds."""
    peer = device.peer
    ahead = services.now() - services.clock.seconds()  # of the clock
    voice = device.voice
    talking = 0.0 if voice is None else services.clock.seconds() - voice.started_at
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
            "messages": device.messages,
            "messages_refused": device.refused_messages,
            "messages_over_limit": device.limit.refused,
        },
        session=None if voice is None else _session(device, voice, ahead),
        udp=None if voice is None else _udp(voice),
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


def _udp(voice: VoiceSession) -> Json:
    channel, stats = voice.channel, voice.channel.stats
    return {
        "address": None if channel.address is None else _host_and_port(*channel.address),
        "up": {
            "packets": stats.forwarded,
            "bytes": stats.received_bytes,
            "lost": stats.lost,
            "refused": stats.refused,
            "jitter_ms": round(channel.jitter_up.seconds * 1000, 1),
        },
        "down": {
            "packets": stats.sent_packets,
            "bytes": stats.sent_bytes,
            "dropped": stats.dropped,
            "jitter_ms": round(channel.jitter_down.seconds * 1000, 1),
        },
    }


def _host_and_port(host: str, port: int) -> str:
    """As in a URL."""
    host = short_ip(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
