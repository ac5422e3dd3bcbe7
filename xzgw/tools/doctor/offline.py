"""Looks at configuration and ports of this machine: `python -m xzgw.tools.doctor --offline`.

It takes the configuration as the gateway would in this directory, and what it says about it is what
the gateway says at its start (`xzgw.config`, `xzgw.core.start_checks`). No peer is needed, but for
names, which are looked up.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xzgw.config import Config, ConfigError, load
from xzgw.core.start_checks import RECEIVE_BUFFER, drawback, small_buffer
from xzgw.tools.doctor import network
from xzgw.tools.doctor.ports import Ports
from xzgw.tools.doctor.report import Report, Step, Trouble
from xzgw.tools.narration import Say

CONFIGURATION = Step(1, "configuration", 31)
SERVERS = Step(2, "chat servers", 32)
ADDRESS = Step(3, "address", 33)
PORTS = Step(4, "ports", 34)
BUFFER = Step(5, "UDP buffer", 35)

_FIX = "Correct what is named; docs/configuration.md lists every setting."
_SERVER = (
    "The gateway would not find this chat server. Check the name in chat_servers; in a container,"
    " names of other containers exist only in a network that both are in."
)
# A documentation address: the kernel chooses a route to it, nothing is sent.
_SOMEWHERE = ("192.0.2.1", 9)


class Offline:
    """One look around. Steps go on after a failure, but for the first."""

    def __init__(self, reactor: Any, timeout: float, report: Report) -> None:
        """Take s that anything may take."""
        self._reactor = reactor
        self._timeout = timeout
        self._report = report

    async def run(self, environ: Mapping[str, str], directory: Path, file: str | None) -> None:
        """All steps; what fails is in the report."""
        config = self._configuration(environ, directory, file)
        if config is None:
            return
        await self._servers(config)
        await self._address(config)
        await self._ports(config, directory)
        self._buffer()

    def _configuration(
        self, environ: Mapping[str, str], directory: Path, file: str | None
    ) -> Config | None:
        report = self._report
        report.begin(CONFIGURATION)
        flags = {} if file is None else {"config": file}
        try:
            config, warnings = load(flags, environ, directory)
        except ConfigError as e:
            for warning in e.warnings:
                report.warn(warning)
            for problem in e.problems:
                report.failed(Trouble(problem, _FIX))
            return None
        report.ok(f"read from {config.source}" if config.source else "no file, environment alone")
        for warning in warnings:
            report.warn(warning)
        return config

    async def _servers(self, config: Config) -> None:
        self._report.begin(SERVERS)
        urls = dict.fromkeys(config.production_servers + config.development_servers)
        hosts = dict.fromkeys(str(urlsplit(url).hostname) for url in urls)
        well = [await self._resolves(host) for host in hosts]
        if all(well):
            self._report.ok(f"{', '.join(hosts)}: found")

    async def _resolves(self, host: str) -> bool:
        try:
            await self._look_up(host)
        except (OSError, UnicodeError) as e:
            self._report.failed(Trouble(f"{host}: {network.words(e)}", _SERVER))
            return False
        return True

    async def _look_up(self, host: str) -> list[str]:
        call = partial(network.resolve, host, 0)
        return await network.in_thread(self._reactor, call, self._timeout)

    async def _address(self, config: Config) -> None:
        report = self._report
        report.begin(ADDRESS)
        if config.public_ip is None:
            own = usual_address()
            report.ok("PUBLIC_IP is not set: devices are told the address that they connected to")
            if own and (why := drawback(own)):
                report.warn(f"here that is likely {own}, which {why}; set PUBLIC_IP")
            return
        try:
            addresses = await self._look_up(config.public_ip)
        except (OSError, UnicodeError) as e:
            what = f"{config.public_ip}: {network.words(e)}"
            advice = "Devices are told this name for audio. Set PUBLIC_IP to one that exists."
            report.failed(Trouble(what, advice))
            return
        report.ok(f"devices are told {config.public_ip}")
        for note in name_notes(config.public_ip, addresses):
            report.warn(note)

    async def _ports(self, config: Config, directory: Path) -> None:
        self._report.begin(PORTS)
        well = True
        for found in await Ports(self._reactor, self._timeout, directory).look(config):
            if isinstance(found, Trouble):
                well = False
                self._report.failed(found)
            else:
                self._report.note(found)
        if well:
            self._report.ok("none is missing")

    def _buffer(self) -> None:
        self._report.begin(BUFFER)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            granted = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._report.ok(f"{granted // 1024} KiB granted")
        if small := small_buffer(granted):
            self._report.warn(small)


def name_notes(name: str, addresses: Sequence[str]) -> list[str]:
    """What is wrong with the addresses of PUBLIC_IP, unless the name itself says it."""
    if drawback(name) is not None:
        return []  # the configuration's warnings have it
    whys = {address: drawback(address) for address in addresses}
    return [f"PUBLIC_IP {name} is {address}, which {why}" for address, why in whys.items() if why]


def usual_address() -> str:
    """This machine's IPv4 address towards others; empty without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_SOMEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


async def look_around(
    reactor: Any,
    environ: Mapping[str, str],
    directory: Path,
    file: str | None,
    timeout: float,
    say: Say,
) -> int:
    """Examine this machine; returns the exit status.

    Args:
        directory: where the gateway would run.
        file: its JSON file, None for the usual ones.
        timeout: s that anything may take.
    """
    report = Report(reactor.seconds, say)
    await Offline(reactor, timeout, report).run(environ, directory, file)
    return report.conclude()
