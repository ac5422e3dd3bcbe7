"""The gateway as a child process, started the way users start it: `twistd -n xzgw`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from xzgw.tools.steps import StepError

START_SECONDS = 15.0
STOP_SECONDS = 5.0
_RETRY_SECONDS = 0.05


def twistd_command() -> list[str]:
    """The command that runs the gateway in the foreground. Raises StepError without twistd."""
    twistd = Path(sys.executable).with_name("twistd")
    if not twistd.exists():
        raise StepError(f"starting the gateway: there is no {twistd}; is Twisted installed?")
    return [sys.executable, str(twistd), "-n", "--pidfile=", "xzgw"]


def child_environment(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment with these settings, and with this very xzgw first on the module path."""
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [home, environ.get("PYTHONPATH")]))
    return {**environ, **settings, "PYTHONPATH": path}


class GatewayProcess:
    """A running gateway.

    The terminal's Ctrl-C reaches it too, and then our SIGTERM, which it ignores while it stops.
    """

    def __init__(
        self,
        reactor: Any,  # IReactorTCP, IReactorTime, IReactorThreads and IReactorCore
        command: Sequence[str],
        environ: Mapping[str, str],
        directory: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """Start it in the directory (else ours), its output going to the log (else to ours)."""
        self._reactor = reactor
        self._log = log
        output: IO[bytes] | None = log.open("wb") if log is not None else None
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environ),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
        )
        if output is not None:
            output.close()
        # It must not outlive us, whatever ends us; whoever wants to stop it kindly did so before.
        reactor.addSystemEventTrigger("after", "shutdown", self.kill)

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def ended(self) -> Deferred[int]:
        """Fire with the exit status when it has ended."""
        return deferToThread(self._process.wait)

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of its log."""
        if self._log is None:
            return []
        return self._log.read_text("utf-8", "replace").splitlines()[-lines:]

    async def accepts(self, host: str, port: int, seconds: float = START_SECONDS) -> None:
        """Wait until it takes connections there. Raises StepError when it ends or is too slow."""
        deadline = self._reactor.seconds() + seconds
        endpoint = TCP4ClientEndpoint(self._reactor, host, port, timeout=1)
        while self._reactor.seconds() < deadline:
            if self.status is not None:
                raise StepError(f"starting the gateway: it ended with status {self.status}")
            try:
                probe = await connectProtocol(endpoint, Protocol())
            except ConnectError:
                await deferLater(self._reactor, _RETRY_SECONDS)
            else:
                probe.transport.loseConnection()
                return
        raise StepError(f"starting the gateway: port {port} not open in {seconds:g} s")

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; its exit status. Raises StepError if it has to be killed, being too slow."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return await deferToThread(self._process.wait, seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            still = f"still running {seconds:g} s after SIGTERM"
            raise StepError(f"stopping the gateway: {still}") from None

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self.status is None:
            self._process.kill()
            self._process.wait()
