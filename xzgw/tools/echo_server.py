"""A xiaozhi-server that says back what it hears: for demos, tests and trying out a device.

`python -m xzgw.tools.echo_server --port 8000` runs it alone.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import react

from xzgw.tools.echo_connection import EchoConnection, EchoFactory, Settings
from xzgw.tools.narration import Say, silent

PATH = "/xiaozhi/v1/?from=mqtt_gateway"


class EchoServer:
    """Listens for gateways."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP and IReactorTime
        *,
        secret: str | None = None,
        say: Say = silent,
        ping_seconds: float = 20.0,
        idle_seconds: float = 180.0,
    ) -> None:
        """Take the secret that tokens are checked with, if they are to be checked."""
        settings = Settings(reactor, secret, say, ping_seconds, idle_seconds)
        self.url = ""  # where a gateway reaches this server, once it listens
        self._factory = EchoFactory(settings)
        self._reactor = reactor
        self._port: IListeningPort | None = None

    @property
    def connections(self) -> list[EchoConnection]:
        """Those that last, in the order in which they came."""
        return self._factory.connections

    def empty(self, seconds: float = 5.0) -> Deferred[bool]:
        """Fire when no connection is left; errbacks with StepError."""
        return self._factory.empty(seconds)

    def listen(self, port: int = 0, interface: str = "127.0.0.1") -> Deferred[int]:
        """Start; fires with the port, errbacks with CannotListenError."""
        return Deferred.fromCoroutine(self._listen(port, interface))

    async def _listen(self, port: int, interface: str) -> int:
        endpoint = TCP4ServerEndpoint(self._reactor, port, interface=interface)
        self._port = await endpoint.listen(self._factory)
        listening: Any = self._port.getHost()
        self.url = f"ws://{listening.host}:{listening.port}{PATH}"
        return int(listening.port)

    def stop(self) -> Deferred[None]:
        """Stop listening and close all connections; fires when all are gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            closed = maybeDeferred(port.stopListening)
            for connection in list(self.connections):
                connection.leave()
            await self.empty()
            await closed


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m xzgw.tools.echo_server",
        description="A xiaozhi-server that says back what it hears.",
        epilog="Environment: SERVER_SECRET, when set, makes it check the gateway's token.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="TCP port (%(default)s)")
    return parser.parse_args(arguments)


async def _serve(reactor: Any, options: argparse.Namespace) -> None:
    server = EchoServer(reactor, secret=os.environ.get("SERVER_SECRET"), say=print)
    try:
        await server.listen(options.port, options.host)
    except CannotListenError as e:
        raise SystemExit(f"echo server: {e}") from None
    reactor.addSystemEventTrigger("before", "shutdown", server.stop)
    print(f"echo server: {server.url}", flush=True)
    await Deferred()  # until a signal ends the process


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGINT or SIGTERM."""
    options = _options(arguments)
    react(lambda reactor: Deferred.fromCoroutine(_serve(reactor, options)))


if __name__ == "__main__":
    main()
