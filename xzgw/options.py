"""The command line of `twistd xzgw`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from twisted.python import usage

from xzgw.config import Config, ConfigError, load
from xzgw.core.listening import tls_of
from xzgw.core.sayings import Saying
from xzgw.net import tls


class Options(usage.Options):
    """Flags of `twistd xzgw`; parsing them loads and checks the whole configuration.

    A mistake in it ends the process with status 1 and one line each on standard error; `--check`
    ends it in any case.

    Attributes:
        flags, environ, directory: what `xzgw.config.load` takes, to call it again.
        config, warnings: what it returned; there after parsing.
    """

    longdesc: ClassVar[str] = (
        "The gateway between xiaozhi voice devices (MQTT, encrypted UDP) and a xiaozhi-server "
        "(WebSocket). Each option may also stand in the environment, in .env or in the JSON "
        "file; an option here wins. Secrets come from the environment or .env only: "
        "MQTT_SIGNATURE_KEY and SERVER_SECRET. See docs/configuration.md."
    )

    optFlags: ClassVar[list[list[str | None]]] = [
        ["check", None, "Check the configuration, say what it means and exit."],
        ["debug", None, "Log more."],
        ["allow-unsigned", None, "Let in devices with two-part client ids, unsigned."],
    ]

    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", "c", None, "JSON file [default: etc/xzgw.json, then config/mqtt.json]."],
        ["api", None, None, "Endpoint of the admin API, e.g. tcp:8007:interface=127.0.0.1."],
        ["udp", None, None, "[HOST:]PORT to receive audio at; or fd:N, systemd[:NAME]."],
        ["mqtt-port", None, None, "TCP port for devices, without --mqtt [default: 1883]."],
        ["api-port", None, None, "TCP port of the admin API, without --api [default: 8007]."],
        ["udp-port", None, None, "UDP port for audio, without --udp [default: 8884]."],
        ["public-ip", None, None, "Host that devices send audio to [default: as they connect]."],
        ["public-udp-port", None, None, "Port that devices send audio to [default: ours]."],
        ["backend-ca", None, None, "PEM file of authorities for wss:// [default: the system's]."],
        ["publish-topic", None, None, "Topic that devices publish on [default: device-server]."],
        ["max-mqtt-payload-size", None, None, "Bytes of one message [default: 1048576]."],
        ["message-rate", None, None, "Messages per second of one device [default: 100]."],
        ["message-burst", None, None, "Messages at once of one device [default: 1000]."],
        ["max-connections", None, None, "Devices connected at a time [default: 50000]."],
        ["max-connections-per-address", None, None, "The same of one address [default: any]."],
        ["max-connects-per-second", None, None, "New connections a second [default: 1000]."],
        ["max-unauthenticated", None, None, "Connections not yet let in [default: 5000]."],
        ["max-sessions", None, None, "Sessions at a time [default: 10000]."],
        ["max-api-connections", None, None, "Connections of the admin API [default: 200]."],
        ["drain-seconds", None, None, "Time of open sessions when drained [default: 300]."],
        ["drain-rate", None, None, "Devices let go a second when drained [default: 50]."],
    ]

    def __init__(
        self, environ: Mapping[str, str] | None = None, directory: Path | None = None
    ) -> None:
        """The process's environment and working directory, unless others are given."""
        super().__init__()
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        # Absolute: twistd changes the working directory later if told to.
        self.directory = (directory or Path()).absolute()
        self.flags: Mapping[str, object] = {}
        self.config: Config
        self.warnings: tuple[Saying, ...] = ()
        self._repeated: dict[str, list[str]] = {}

    def opt_mqtt(self, endpoint: str) -> None:
        """Endpoint for devices, e.g. tcp:1883; may be repeated."""
        self._repeated.setdefault("mqtt", []).append(endpoint)

    def opt_chat_server(self, url: str) -> None:
        """Chat server to use in place of those in the file; may be repeated."""
        self._repeated.setdefault("chat-server", []).append(url)

    def postOptions(self) -> None:
        """Load the configuration.

        Raises:
            SystemExit: 1 with mistakes, 0 after `--check` without.
        """
        check = bool(self["check"])
        self.flags = self._given_flags()
        try:
            self.config, self.warnings = load(self.flags, self.environ, self.directory)
        except ConfigError as error:
            sys.stderr.writelines(f"warning: {warning}\n" for warning in error.warnings)
            sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
            raise SystemExit(1) from None
        if check:
            raise SystemExit(_checked(self.config, self.warnings))

    def _given_flags(self) -> dict[str, object]:
        single = {
            name: True if value == 1 else value
            for name, value in self.items()
            if name != "check" and value not in (None, 0)
        }
        return {**single, **self._repeated}


def _checked(config: Config, warnings: Iterable[str]) -> int:
    """Print what a configuration that could be loaded comes to; the exit status."""
    problems, further = _certificates(config)
    sys.stderr.writelines(f"warning: {warning}\n" for warning in (*warnings, *further))
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    if not problems:
        sys.stdout.write(f"{summary(config)}\n")
    return 1 if problems else 0


def _certificates(config: Config) -> tuple[list[str], list[str]]:
    """What is wrong with those to listen with: mistakes, and warnings."""
    problems: list[str] = []
    warnings: list[str] = []
    for endpoint in (*config.mqtt, *([config.api] if config.admin_api else [])):
        for listener in tls_of(endpoint):
            path = listener.certificate
            try:
                _, own = tls.load(listener.private_key, path, listener.chain)
            except tls.TlsError as error:
                problems.append(f"{endpoint}: {error}")
            else:
                warnings += tls.drawbacks(path, own, time.time())
    return problems, warnings


def summary(config: Config) -> str:
    """What a configuration comes to, in one line and without secrets."""
    udp_host = f"[{config.udp_host}]" if ":" in config.udp_host else config.udp_host or "*"
    parts = (
        f"file {config.source or 'none'}",
        f"MQTT at {' '.join(config.mqtt)}",
        f"audio at udp {config.udp_socket or f'{udp_host}:{config.udp_port}'}",
        f"devices send it to {config.public_ip or 'the address they connected to'},"
        f" port {config.public_udp_port or config.udp_port or 'as taken'}",
        f"admin API {'off' if config.weak_key else f'at {config.api}'}",
        f"{len(config.production_servers)} chat server(s)",
        f"{len(config.development_servers)} more for {len(config.development_macs)} device(s)",
        f"unsigned devices {'let in' if config.allow_unsigned else 'refused'}",
    )
    return f"configuration is valid: {'; '.join(parts)}"
