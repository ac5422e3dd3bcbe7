"""What is told of one session's audio, in the API, in events and in the log: docs/telemetry.md."""

from __future__ import annotations

from typing import Final

from xzgw.core.channel import AudioChannel
from xzgw.core.jitter import Jitter
from xzgw.core.quality import Quality, downlink, rate, uplink
from xzgw.core.totals import Ending
from xzgw.core.turns import Turns
from xzgw.wire.addresses import short_ip
from xzgw.wire.messages import Json

# By the words of session.py and calls.py.
_ENDINGS: Final = {
    "device said goodbye": Ending.GOODBYE,
    "device disconnected": Ending.DISCONNECTED,
    "device reported a UDP time-out": Ending.UDP_TIMEOUT,
    "replaced by a new hello": Ending.NEW_HELLO,
    "the other device has left the call": Ending.CALL,
    "the call was not answered": Ending.CALL,
}


def udp(channel: AudioChannel) -> Json:
    """Both directions' packets. Bytes are those of datagrams; reasons that never were are left out.

    Returns:
        `address`, null before the device was heard, `up` and `down`.
    """
    stats = channel.stats
    return {
        "address": None if channel.address is None else _host_and_port(*channel.address),
        "up": {
            "packets": stats.forwarded,
            "bytes": stats.forwarded_bytes,
            "lost": stats.lost,
            "late": stats.late,
            "duplicate": stats.duplicate,
            "refused": stats.refused,
            "refused_by": _present(stats.refused_by()),
            **_arrival(channel.jitter_up),
        },
        "down": {
            "packets": stats.sent_packets,
            "bytes": stats.sent_bytes,
            "dropped": stats.dropped,
            "dropped_by": _present(stats.dropped_by()),
            **_arrival(channel.jitter_down),
        },
    }


def times(hello_at: float, replied_at: float, channel: AudioChannel, turns: Turns) -> Json:
    """How long things took, in ms; null for what has not happened.

    Args:
        hello_at, replied_at: clock seconds of the device's hello and of our reply.
    """
    heard_at = channel.heard_at
    return {
        "hello_to_reply_ms": _ms(replied_at - hello_at),
        "hello_to_first_uplink_ms": None if heard_at is None else _ms(heard_at - hello_at),
        "stop_to_first_audio_ms": _ms(turns.last),
        "stop_to_first_audio_worst_ms": _ms(turns.worst),
        "turns": turns.count,
    }


def quality(channel: AudioChannel, turns: Turns, unsent: int) -> Quality | None:
    """The session's score; None without audio. `unsent`: packets the server was too slow for."""
    stats = channel.stats
    up = uplink(stats, channel.jitter_up, unsent)
    return rate(up, downlink(stats, channel.jitter_down), turns.mean)


def quality_told(rated: Quality | None) -> Json | None:
    """`score`, and `why` as a sentence and as its parts."""
    if rated is None:
        return None
    return {"score": rated.score, "why": rated.why, "parts": rated.why.parts}


def ending(reason: str, server_gone: bool) -> str:
    """One of ENDINGS.

    Args:
        server_gone: whether the server closed its connection or lost it, in its own words.
    """
    return Ending.SERVER if server_gone else _ENDINGS.get(reason, Ending.GATEWAY)


def _arrival(jitter: Jitter) -> Json:
    return {
        "jitter_ms": _ms(jitter.seconds),
        "gaps": jitter.gaps,
        "longest_gap_ms": _ms(jitter.longest_gap),
    }


def _present(counts: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _host_and_port(host: str, port: int) -> str:
    """As in a URL."""
    host = short_ip(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
