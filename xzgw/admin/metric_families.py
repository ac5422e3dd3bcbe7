"""What the door tells, in Prometheus' terms. docs/metrics.md explains each metric to operators.

All labels have few values: names of settings and reasons, routes, and the chat servers configured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from xzgw.admin.api_counts import Kind
from xzgw.core.door import BackendState, BackendView, Status
from xzgw.core.totals import Histogram, Totals

# Of Status.counts: what has a metric of its own, what begins with this, which is a reason beside
# the limits, and what is a reason beside those that sessions have.
EVENTS = "events"
TURNED_AWAY = "refused_"
REFUSED = {
    "datagrams_too_short": "no_header",
    "datagrams_unknown": "no_session",
    "datagram_faults": "fault",
}
UNSENT = {"datagrams_unsent": "not_taken_by_kernel"}


def of_status(status: Status) -> Iterator[Metric]:
    """The gateway as a whole."""
    ready = "Whether new devices should be sent here, as /readyz tells it."
    yield _gauge("ready", ready, not status.troubles)
    yield _gauge("draining", "Whether devices are being let go.", status.draining)
    connections = {
        "device": status.devices,
        "unauthenticated": status.unauthenticated,
        "api": status.api_connections,
    }
    yield _gauges("connections", "Connections that are open.", "kind", connections)
    yield _gauge("sessions", "Sessions, open or being opened.", status.sessions)
    yield _gauges("held", "What lives and ends with devices and callers.", "what", status.held)
    limits = {name: limit.value for name, limit in status.limits.items()}
    yield _gauges("limit", "Limits as configured; 0 where that means none.", "setting", limits)
    used = {name: each.used for name, each in status.limits.items() if each.used is not None}
    yield _gauges("limit_used", "How much of a limit is taken.", "setting", used)
    shown = {
        name.removeprefix(TURNED_AWAY): count
        for name, count in status.counts.items()
        if name.startswith(TURNED_AWAY)
    }
    refused = "Connections, sessions and requests refused, by the limit or what they had to show."
    yield _counters("refused", refused, "reason", {**status.refused, **shown})
    events = "Events published, as the event stream and webhooks have them."
    yield _counter("events", events, status.counts.get(EVENTS, 0))


def of_servers(servers: Sequence[BackendView]) -> Iterator[Metric]:
    """The chat servers by URL, as shown; several that are shown alike count as one."""
    up: dict[str, bool] = {}
    draining: dict[str, bool] = {}
    sessions: dict[str, int] = {}
    failures: dict[str, int] = {}
    for server in servers:
        url = server.url
        up[url] = up.get(url, True) and not server.failures
        draining[url] = draining.get(url, False) or server.state is BackendState.DRAINING
        sessions[url] = sessions.get(url, 0) + server.sessions
        failures[url] = max(failures.get(url, 0), server.failures)
    for name, text, values in (
        ("up", "Whether a chat server has not failed since it last answered.", up),
        (
            "draining",
            "Whether a chat server gets no new sessions, by an operator's wish.",
            draining,
        ),
        ("sessions", "Sessions on a chat server, open or being opened.", sessions),
        ("failures_in_a_row", "Failures of a chat server since it last answered.", failures),
    ):
        yield _gauges(f"backend_{name}", text, "server", values)


def of_sessions(totals: Totals) -> Iterator[Metric]:
    """What became of sessions, and how well they went."""
    yield _counter("sessions_started", "Sessions that a chat server answered.", totals.started)
    failed = "Hellos of devices that no chat server answered."
    yield _counter("sessions_failed", failed, totals.failed)
    yield _counters("sessions_ended", "Sessions that ended, by cause.", "cause", totals.ended)
    told = "What was found to be wrong with devices and their sessions."
    diagnosed = {cause.value: count for cause, count in totals.diagnosed.items()}
    yield _counters("diagnoses", told, "cause", diagnosed)
    setup = "From a device's hello to the reply, of each session."
    yield _histogram("session_setup_seconds", setup, totals.setup)
    answer = "From the end of the user's speech to the first audio back, of each turn."
    yield _histogram("turn_answer_seconds", answer, totals.answer)
    quality = "Score from 1 to 5 of each session with audio that has ended."
    yield _histogram("session_quality", quality, totals.quality)
    jitter = "Interarrival jitter of each session with audio that has ended."
    directions = {"up": totals.jitter_up, "down": totals.jitter_down}
    yield _histograms("session_jitter_seconds", jitter, "direction", directions)


def of_audio(totals: Totals, counts: Mapping[str, int]) -> Iterator[Metric]:
    """
    Args:
        counts: of Status.
    """
    audio = totals.audio
    packets = {"up": audio.forwarded, "down": audio.sent_packets}
    yield _counters("audio_packets", "Audio packets passed on.", "direction", packets)
    size = {"up": audio.forwarded_bytes, "down": audio.sent_bytes}
    yield _counters("audio_bytes", "The same as datagrams with headers.", "direction", size)
    missing = "Audio packets of devices that had not come when a later one did."
    yield _counter("audio_missing_packets", missing, audio.lost + audio.late)
    late = "Of the missing packets, those that came later; the others are lost."
    yield _counter("audio_late_packets", late, audio.late)
    duplicate = "Audio packets of devices that came again."
    yield _counter("audio_duplicate_packets", duplicate, audio.duplicate)
    refused = {**audio.refused_by(), **{REFUSED[n]: counts.get(n, 0) for n in REFUSED}}
    text = "Datagrams of devices, or of anybody, that were not passed on."
    yield _counters("audio_refused_packets", text, "reason", refused)
    dropped = {**audio.dropped_by(), **{UNSENT[n]: counts.get(n, 0) for n in UNSENT}}
    text = "Audio packets for devices that were not sent."
    yield _counters("audio_dropped_packets", text, "reason", dropped)
    gaps = {"up": totals.gaps_up, "down": totals.gaps_down}
    yield _counters("audio_gaps", "Interruptions of speech.", "direction", gaps)
    unsent = "Audio packets that chat servers were too slow to be sent."
    yield _counter("backend_unsent_packets", unsent, totals.unsent)
    malformed = {
        "audio_malformed": totals.audio_refused,
        "audio_unwanted": totals.audio_unwanted,
        "text_malformed": totals.texts_refused,
    }
    text = "Messages of chat servers that were not passed on."
    yield _counters("backend_refused_messages", text, "reason", malformed)


def of_process(requests: Mapping[Kind, int], lag: Histogram) -> Iterator[Metric]:
    """
    Args:
        requests: those answered.
        lag: see core.lag.
    """
    text = "Requests to the admin API that were answered, by route."
    answered = CounterMetricFamily("xzgw_api_requests", text, labels=Kind._fields)
    for kind, count in requests.items():
        answered.add_metric(kind, count)
    yield answered
    text = "How late a timer of the event loop was, looked at twice a second."
    yield _histogram("event_loop_lag_seconds", text, lag)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"xzgw_{name}", text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"xzgw_{name}", text, labels=(label,))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"xzgw_{name}", text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"xzgw_{name}", text, labels=(label,), unit=_unit(name))
    for each, value in values.items():
        family.add_metric((each,), value)
    return family


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    buckets, total = _buckets(values), values.sum
    return HistogramMetricFamily(f"xzgw_{name}", text, buckets, total, unit=_unit(name))


def _histograms(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"xzgw_{name}", text, labels=(label,), unit=_unit(name))
    for each, value in values.items():
        family.add_metric((each,), _buckets(value), value.sum)
    return family


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, values.bounds), "+Inf"]
    return list(zip(bounds, accumulate(values.counts), strict=True))


def _unit(name: str) -> str:
    last = name.rpartition("_")[2]
    return last if last in ("seconds", "bytes") else ""
