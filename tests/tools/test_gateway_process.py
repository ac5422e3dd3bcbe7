"""A child process in the gateway's place."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

import xzgw
from xzgw.tools.gateway_process import GatewayProcess, child_environment, twistd_command
from xzgw.tools.steps import StepError

# Listens on a free port, whose number it writes to a file; on SIGTERM does as told.
_LISTENER = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, {handler})
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("line one\\nline two", flush=True)
while True:
    time.sleep(60)
"""
_OBEYS = "lambda *_: sys.exit(3)"
_REFUSES = "signal.SIG_IGN"


class GatewayProcessTests(TestCase):
    """Start, wait, stop."""

    def start(self, code: str, *arguments: str) -> GatewayProcess:
        self.log = Path(self.mktemp())
        command = [sys.executable, "-c", code, *arguments]
        process = GatewayProcess(reactor, command, os.environ, log=self.log)
        self.addCleanup(process.kill)
        return process

    async def listening(self, handler: str) -> GatewayProcess:
        port = free_port()
        process = self.start(_LISTENER.format(handler=handler), str(port))
        await process.accepts("127.0.0.1", port)
        return process

    async def fault(self, step: object) -> str:
        try:
            await step  # type: ignore[misc]
        except StepError as e:
            return str(e)
        raise self.failureException("the step did not fail")

    async def test_stop(self) -> None:
        """SIGTERM ends it; its status and the end of its log are known."""
        process = await self.listening(_OBEYS)
        self.assertIsNone(process.status)
        self.assertEqual(await process.stop(), 3)
        self.assertEqual(process.status, 3)
        self.assertEqual(process.log_tail(1), ["line two"])
        self.assertEqual(await process.ended(), 3)
        self.assertEqual(await process.stop(), 3)

    async def test_stubborn(self) -> None:
        """One that does not end in time is killed, and that is a fault."""
        process = await self.listening(_REFUSES)
        fault = await self.fault(process.stop(seconds=0.1))
        self.assertEqual(fault, "stopping the gateway: still running 0.1 s after SIGTERM")
        self.assertEqual(process.status, -9)

    async def test_ends_at_once(self) -> None:
        """One that ends instead of listening is a fault that tells its status."""
        process = self.start("raise SystemExit(4)")
        fault = await self.fault(process.accepts("127.0.0.1", free_port()))
        self.assertEqual(fault, "starting the gateway: it ended with status 4")

    async def test_never_listens(self) -> None:
        """One that does not listen in time is a fault that tells the port."""
        process = self.start("import time; time.sleep(60)")
        port = free_port()
        fault = await self.fault(process.accepts("127.0.0.1", port, seconds=0.1))
        self.assertEqual(fault, f"starting the gateway: port {port} not open in 0.1 s")

    def test_no_log(self) -> None:
        """One that writes to our own output has no log to show."""
        process = GatewayProcess(reactor, [sys.executable, "-c", ""], os.environ)
        self.addCleanup(process.kill)
        self.assertEqual(process.log_tail(), [])
        return process.ended().addCallback(self.assertEqual, 0)  # type: ignore[return-value]


class EnvironmentTests(TestCase):
    """What the gateway is started with."""

    def test_command(self) -> None:
        """twistd of this very Python, in the foreground and without a pid file."""
        python, twistd, *rest = twistd_command()
        self.assertEqual((python, rest), (sys.executable, ["-n", "--pidfile=", "xzgw"]))
        self.assertEqual(Path(twistd).parent, Path(sys.executable).parent)

    def test_no_twistd(self) -> None:
        """Without twistd a sentence says so."""
        self.patch(sys, "executable", "/nowhere/python")
        error = self.assertRaises(StepError, twistd_command)
        self.assertIn("there is no /nowhere/twistd", str(error))

    def test_environment(self) -> None:
        """Settings win, and this xzgw comes first on the path, wherever it is started."""
        home = str(Path(xzgw.__file__).resolve().parents[1])
        environ = child_environment({"A": "1", "B": "2"}, {"B": "3"})
        self.assertEqual(environ, {"A": "1", "B": "3", "PYTHONPATH": home})
        environ = child_environment({"PYTHONPATH": "x"}, {})
        self.assertEqual(environ["PYTHONPATH"], f"{home}{os.pathsep}x")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    from socket import socket

    with socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
