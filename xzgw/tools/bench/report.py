"""The bench's figures, for people and for programs."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xzgw import __version__
from xzgw.tools.bench.figures import Durations, Flow
from xzgw.tools.bench.measure import Crowd, Load
from xzgw.tools.bench.options import Plan, cores
from xzgw.tools.bench.ramp import Found, Verdict

_PERCENTILES = (50, 95, 99)


@dataclass(slots=True)
class Report:
    """What a run has found.

    Attributes:
        base_kib: memory of the gateway before the devices came; None if not known.
        load: the one that was asked for, or of a ramp the largest that was carried well.
        steps: a ramp's loads, in order.
    """

    plan: Plan
    base_kib: int | None
    connects: Crowd | None = None
    sessions: Crowd | None = None
    load: Load | None = None
    steps: list[Load] = field(default_factory=list)
    found: Found | None = None

    @property
    def status(self) -> int:
        """Exit status. Loss is a figure; damage and lost sessions are faults, but in a ramp."""
        if self.load is None:
            return 1
        tally = self.load.tally
        return int(bool(tally.lost or tally.up.damaged or tally.down.damaged))


def processor() -> str:
    """What the machine's processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _milliseconds(durations: Durations) -> dict[str, float | None]:
    figures = {f"p{percent}": durations.percentile(percent) for percent in _PERCENTILES}
    figures["max"] = durations.longest / 1e6 if durations.number else None
    return {name: _rounded(value, 3) for name, value in figures.items()}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _flow_json(flow: Flow) -> dict[str, Any]:
    return {
        "sent": flow.sent,
        "arrived": flow.arrived,
        "loss": _rounded(flow.loss, 6),
        "damaged": flow.damaged,
        "latency_ms": _milliseconds(flow.latency),
    }


def _crowd_json(crowd: Crowd | None) -> dict[str, Any] | None:
    if crowd is None:
        return None
    return {
        "devices": crowd.devices,
        "took_ms": _milliseconds(crowd.took),
        "cpu_us": _rounded(crowd.cpu_us, 1),
        "kib": _rounded(crowd.kib, 2),
    }


def _load_json(load: Load | None) -> dict[str, Any] | None:
    if load is None:
        return None
    return {
        "devices": load.devices,
        "seconds": load.seconds,
        "frames_per_second": round(load.arrived / load.seconds, 1),
        "cpu_us_per_frame": _rounded(load.cpu_us, 2),
        "gateway_cpu_share": _rounded(load.gateway_share, 4),
        "up": _flow_json(load.tally.up),
        "down": _flow_json(load.tally.down),
        "lost": dict(load.tally.lost),
        "verdict": load.verdict.name.lower(),
        "bench": {
            "cpu_shares": [round(share, 4) for share in load.fleet_shares],
            "late_ms": _milliseconds(load.tally.late),
            "skipped": load.tally.skipped,
            "others_cpu_share": round(load.others, 4),
            "lags": load.bench_lags,
        },
    }


def as_json(report: Report) -> dict[str, Any]:
    """The whole report; docs/sizing.md explains the members."""
    plan = report.plan
    found = report.found
    return {
        "version": __version__,
        "machine": {
            "processor": processor(),
            "cores": cores(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "direction": "duplex" if plan.up and plan.down else "up" if plan.up else "down",
        "frame_ms": plan.frame_ms,
        "frame_bytes": plan.frame_bytes,
        "own_gateway": plan.mqtt_port is None,
        "base_kib": report.base_kib,
        "connects": _crowd_json(report.connects),
        "sessions": _crowd_json(report.sessions),
        "load": _load_json(report.load),
        "ramp": found
        and {
            "devices": found.devices,
            "limit": found.limit.name.lower(),
            "exceeded": found.exceeded,
            "steps": [_load_json(load) for load in report.steps],
        },
    }


def _number(value: float | None, unit: str, digits: int = 1) -> str:
    return "not known" if value is None else f"{value:,.{digits}f} {unit}"


def _line(name: str, text: str) -> str:
    return f"  {name:<32}{text}"


def _spread(durations: Durations) -> str:
    if not durations.number:
        return "nothing measured"
    figures = _milliseconds(durations).items()
    return "   ".join(f"{name} {value:.2f}" for name, value in figures) + " ms"


def _crowd_lines(name: str, crowd: Crowd | None) -> list[str]:
    if crowd is None:
        return []
    return [
        _line(f"{name}: time", _spread(crowd.took)),
        _line(f"{name}: gateway's CPU", _number(crowd.cpu_us, "us each", 0)),
        _line(f"{name}: gateway's memory", _number(crowd.kib, "KiB each")),
    ]


def _flow_lines(name: str, flow: Flow) -> list[str]:
    if flow.loss is None:
        return []
    lost = flow.sent - flow.arrived
    damaged = f", {flow.damaged} damaged" if flow.damaged else ""
    return [
        _line(f"{name}: latency", _spread(flow.latency)),
        _line(f"{name}: loss", f"{100 * flow.loss:.2f} %, {lost} of {flow.sent:,}{damaged}"),
    ]


def _load_lines(load: Load) -> list[str]:
    tally = load.tally
    shares = ", ".join(f"{100 * share:.0f} %" for share in load.fleet_shares)
    lines = [
        _line("devices talking", f"{load.devices:,} for {load.seconds:g} s"),
        _line("frames", f"{load.arrived / load.seconds:,.0f} a second arrived"),
        _line("gateway's CPU", _number(load.cpu_us, "us a frame")),
    ]
    if load.gateway_share is not None:
        lines.append(_line("", f"{100 * load.gateway_share:.0f} % of a core"))
    lines += _flow_lines("device to server", tally.up) + _flow_lines("server to device", tally.down)
    lines += [_line("LOST", f"{count} x {why}") for why, count in tally.lost.most_common(5)]
    lines.append(_line("the bench itself: CPU", f"{shares} of a core"))
    lines.append(_line("the bench itself: late", _spread(tally.late)))
    lines.append(_line("other programs: CPU", f"{100 * load.others:.0f} % of a core"))
    if tally.skipped:
        lines.append(_line("the bench itself: skipped", f"{tally.skipped:,} frames, not sent"))
    if load.bench_lags:
        lines.append("  THE BENCH COULD NOT KEEP THE PACE: these figures tell more of it than of")
        lines.append("  the gateway. Fewer devices, more cores or nothing else on them would help.")
    return lines


def _found_lines(found: Found) -> list[str]:
    if found.exceeded is None:
        return [f"  {found.devices:,} devices were carried well; more were not tried."]
    lines = [
        f"  {found.devices:,} devices were carried well, {found.exceeded:,} were not:"
        f" {found.limit.value}."
    ]
    if found.limit is Verdict.BENCH:
        lines.append("  The gateway may well carry more; the bench needs more or faster cores,")
        lines.append("  or those that it has for itself.")
    return lines


def table(report: Report) -> str:
    """The report in lines."""
    lines = ["", f"  {processor()}, {cores()} cores, Python {platform.python_version()}", ""]
    base = None if report.base_kib is None else report.base_kib / 1024
    lines.append(_line("gateway's base memory", _number(base, "MiB")))
    lines += _crowd_lines("MQTT connect", report.connects)
    lines += _crowd_lines("session", report.sessions)
    if report.load is not None:
        lines += ["", *_load_lines(report.load)]
    if report.found is not None:
        lines += ["", *_found_lines(report.found)]
    return "\n".join([*lines, ""])
