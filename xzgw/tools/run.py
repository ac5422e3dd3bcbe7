"""The gateway as configured, or on an echo server where no chat server is: `make run`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from xzgw.config import Config, ConfigError, load
from xzgw.tools.demo import throwaway_key
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.gateway_process import GatewayProcess, child_environment, twistd_command
from xzgw.tools.steps import StepError

_PLACEHOLDER = "ws://127.0.0.1:1/?from=mqtt_gateway"


class Trial:
    """Looks at which parts of the configuration are missing, by trying it with them added."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self._environ = environ
        self._directory = directory
        self.problems: tuple[str, ...] = ()  # of the latest attempt that failed

    def load(self, **added: str) -> Config | None:
        """The configuration with these variables added, or None where it has mistakes."""
        try:
            config, _ = load({}, {**self._environ, **added}, self._directory)
        except ConfigError as e:
            self.problems = e.problems
            return None
        return config


def missing(environ: dict[str, str], directory: Path) -> tuple[Config, dict[str, str]]:
    """What has to be added to run at all: nothing, an echo server, or that and a throw-away key.

    Returns:
        The configuration as it would be, and the variables to add; CHAT_SERVERS among them stands
        for the echo server's address.
    Raises:
        SystemExit: with the mistakes, one a line, where an echo server would not help.
    """
    trial = Trial(environ, directory)
    if config := trial.load():
        return config, {}
    problems = trial.problems
    key = {"MQTT_SIGNATURE_KEY": throwaway_key()}
    server = {"CHAT_SERVERS": _PLACEHOLDER}
    if not trial.load(**key):  # else chat servers are there and only their owner knows the key
        for added in (server, server | key):
            if config := trial.load(**added):
                return config, added
        problems = trial.problems
    raise SystemExit("\n".join(problems))


def banner(config: Config, url: str, added: dict[str, str]) -> str:
    """What to know about a gateway that runs on the echo server."""
    lines = [
        "NO CHAT SERVER IS CONFIGURED: the gateway runs on a built-in echo server.",
        "Devices will hear what they said. For a real server, name it in etc/xzgw.json",
        "or in CHAT_SERVERS; docs/configuration.md tells how.",
        f"Echo server: {url}",
        f"MQTT: {' '.join(config.mqtt)}",
    ]
    if key := added.get("MQTT_SIGNATURE_KEY"):
        lines += [
            "No MQTT_SIGNATURE_KEY is set either; this run uses a throw-away one. To try it:",
            f"  MQTT_SIGNATURE_KEY={key} python -m xzgw.tools.device",
        ]
    bar = "*" * 79
    return "\n".join([bar, *(f"* {line}" for line in lines), bar])


async def run_on_echo(reactor: Any, config: Config, added: dict[str, str]) -> None:
    """Run gateway and echo server until a signal or the gateway's end. Raises SystemExit."""
    server = EchoServer(reactor, secret=config.server_secret, say=_say)
    await server.listen()
    print(banner(config, server.url, added), flush=True)
    environ = child_environment(os.environ, {**added, "CHAT_SERVERS": server.url})
    gateway = GatewayProcess(reactor, twistd_command(), environ)
    reactor.addSystemEventTrigger("before", "shutdown", _stop, gateway, server)
    raise SystemExit(await gateway.ended())


def _say(line: str) -> None:
    print(f"echo server: {line}", flush=True)


def _stop(gateway: GatewayProcess, server: EchoServer) -> Deferred[None]:
    async def both() -> None:
        await gateway.stop()
        await server.stop()

    return Deferred.fromCoroutine(both())


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    try:
        config, added = missing(dict(os.environ), Path.cwd())
        command = twistd_command()
    except StepError as e:
        raise SystemExit(str(e)) from None
    if not added:
        os.execve(command[0], command, child_environment(os.environ, {}))  # noqa: S606
    react(lambda reactor: Deferred.fromCoroutine(run_on_echo(reactor, config, added)))


if __name__ == "__main__":
    main()
