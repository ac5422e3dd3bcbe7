"""What the bench is asked for."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xzgw.tools.bench.figures import Limits
from xzgw.tools.bench.frames import FRAME_MS, MAX_BYTES, MIN_BYTES
from xzgw.tools.bench.orders import Address

KEY_VARIABLE = "MQTT_SIGNATURE_KEY"
MOST_DEVICES = 10_000
_MOST_SECONDS = 120.0  # the devices' MQTT keep-alive must not run out
_DESCRIPTION = """
Measures how many devices a gateway carries, and what they cost: simulated devices talk through it
to a chat server of the bench's own. Without --mqtt-port it starts a gateway for that. Another one
must have the bench's chat server as its only one (--server), and its key. docs/sizing.md tells
what the figures mean.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        mqtt_port: of the gateway; None to start one.
        server: host and port of the bench's chat server; port 0 for any.
        pids: processes of a gateway that is there already.
        devices: how many, or with ramp the first number to try.
        warmup, duration: seconds, of each load.
        settle: seconds after all have connected, or have a session, before that is measured.
        json: where the figures go as JSON: a path, `-`, or nowhere.
    """

    host: str
    mqtt_port: int | None
    key: str | None = field(repr=False)
    server: tuple[str, int]
    pids: tuple[int, ...]
    devices: int
    warmup: float
    duration: float
    settle: float
    up: bool
    down: bool
    frame_ms: int
    frame_bytes: int
    rate: float
    processes: int
    ramp: bool
    most: int
    limits: Limits
    json: str | None


def resolve(host: str, port: int) -> tuple[int, Address]:
    """Family and address for TCP. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, address


def _number(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str], Any]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"found {text!r}, want {low:g} to {high:g}")
        return value

    return read


def _place(text: str) -> tuple[str, int]:
    """`[HOST:]PORT`."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"found {text!r}, want [HOST:]PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m xzgw.tools.bench", description=_DESCRIPTION)
    add = parser.add_argument
    add("--devices", type=_number(1, MOST_DEVICES), default=100, help="how many (%(default)s)")
    add("--duration", type=_number(0.1, _MOST_SECONDS, float), help="s measured (15; in a ramp 5)")
    add("--warmup", type=_number(0, _MOST_SECONDS, float), help="s before that (3; in a ramp 2)")
    settle = "s of rest before memory and CPU of a step are read (%(default)g)"
    add("--settle", type=_number(0, _MOST_SECONDS, float), default=1.0, help=settle)
    add("--direction", choices=("up", "down", "duplex"), default="duplex", help="(%(default)s)")
    add("--frame-ms", type=int, choices=FRAME_MS, default=60, help="of a frame (%(default)s)")
    bounds = _number(MIN_BYTES, MAX_BYTES)
    add("--frame-bytes", type=bounds, default=180, help="of Opus (%(default)s)")
    add("--ramp", action="store_true", help="find the largest number, from --devices on")
    add("--most", type=_number(1, MOST_DEVICES), default=MOST_DEVICES, help="end of the ramp")
    add(
        "--max-loss", type=_number(0, 100, float), default=0.5, help="%% that is well (%(default)g)"
    )
    add("--max-p99", type=_number(1, 10_000, float), default=100.0, help="ms, too (%(default)g)")
    add("--rate", type=_number(1, 10_000, float), default=200.0, help="connections/s (%(default)g)")
    add("--processes", type=_number(1, 64), help="of the fleet (the cores but one)")
    add("--json", metavar="FILE", help="the figures as JSON; - for standard output")
    _add_given(parser)
    return parser


def _add_given(parser: argparse.ArgumentParser) -> None:
    given = parser.add_argument_group("a gateway that is there already")
    given.add_argument("--host", default="127.0.0.1", help="(%(default)s)")
    given.add_argument("--mqtt-port", type=_number(1, 65535), help="without TLS")
    given.add_argument("--key", help=f"signature key; better in {KEY_VARIABLE}: argv is public")
    given.add_argument("--server", type=_place, metavar="[HOST:]PORT", help="where we listen")
    given.add_argument(
        "--gateway-pid",
        type=_number(1, 1 << 22),
        action="append",
        help="for CPU and memory",
    )


def read(arguments: Sequence[str] | None) -> Plan:
    """The plan; ends the process where the command line is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    key = given.key or os.environ.get(KEY_VARIABLE)
    if given.mqtt_port is None and (given.server or given.gateway_pid or given.key):
        parser.error("--server, --key and --gateway-pid belong to --mqtt-port")
    if given.mqtt_port is not None and not (given.server and key):
        parser.error(f"--mqtt-port needs --server and a signature key ({KEY_VARIABLE})")
    return Plan(
        host=given.host,
        mqtt_port=given.mqtt_port,
        key=key if given.mqtt_port is not None else None,
        server=given.server or ("127.0.0.1", 0),
        pids=tuple(given.gateway_pid or ()),
        devices=given.devices,
        warmup=(2.0 if given.ramp else 3.0) if given.warmup is None else given.warmup,
        duration=given.duration or (5.0 if given.ramp else 15.0),
        settle=given.settle,
        up=given.direction != "down",
        down=given.direction != "up",
        frame_ms=given.frame_ms,
        frame_bytes=given.frame_bytes,
        rate=given.rate,
        processes=given.processes or max(1, cores() - 1),
        ramp=given.ramp,
        most=given.most,
        limits=Limits(given.max_loss / 100, given.max_p99),
        json=given.json,
    )
