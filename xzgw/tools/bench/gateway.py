"""The gateway that is measured: one of our own, and what any one uses of the machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from xzgw.tools.gateway_process import (
    START_SECONDS,
    STOP_SECONDS,
    child_environment,
    twistd_command,
)
from xzgw.tools.steps import StepError

HOST = "127.0.0.1"
_LOOK_SECONDS = 0.05
_TAIL = 10  # lines of its log that are shown
_MQTT = re.compile(r"MQTT at 127\.0\.0\.1:(\d+)")
# Of our environment only what a program needs to run: the settings are the bench's.
_NEEDED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH")


def settings(server: str, key: str) -> dict[str, str]:
    """A gateway's settings: as by default, but for where it listens and who may come in a hurry."""
    return {
        "MQTT_SIGNATURE_KEY": key,
        "CHAT_SERVERS": server,
        "XZGW_MQTT": f"tcp:0:interface={HOST}:backlog=1000",
        "XZGW_API": f"tcp:0:interface={HOST}",
        "XZGW_UDP": f"{HOST}:0",
        "XZGW_MAX_CONNECTS_PER_SECOND": "100000",
    }


class OwnGateway:
    """A gateway that the bench starts, on free ports of this machine."""

    def __init__(
        self, server: str, key: str, directory: Path, command: Sequence[str] | None = None
    ) -> None:
        """
        Args:
            server: the URL of its chat server.
            directory: an empty one for it to run in.
            command: what starts it, if not the usual.
        """
        self._log = directory / "gateway.log"
        environ = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command or twistd_command(),
                env=child_environment(environ, settings(server, key)),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def port(self) -> int:
        """Its MQTT port, once it listens. Raises StepError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = _MQTT.search(self._log.read_text("utf-8", "replace"))
            if found is not None:
                return int(found[1])
            self.check("starting the gateway")
            time.sleep(_LOOK_SECONDS)
        raise StepError(f"starting the gateway: not listening in {START_SECONDS:g} s{self._tail()}")

    def check(self, step: str) -> None:
        """Raises StepError if it has ended."""
        status = self._process.poll()
        if status is not None:
            raise StepError(f"{step}: the gateway ended with status {status}{self._tail()}")

    def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return "\n  ".join(["; its last log lines:", *lines]) if lines else ""


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that these processes have used, all threads. Raises StepError if one is gone.

    Source: clock_getcpuclockid(3); Linux has the process in the clock's number.
    """
    try:
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)
    except OSError:
        raise StepError(f"reading CPU time: no process {' or '.join(map(str, pids))}") from None


def machine_seconds() -> float:
    """CPU time that the whole machine has used, what its host took from it included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        Path("/proc/stat").read_text("ascii").split()[1:9]
    )
    ticks = sum(map(int, (user, nice, system, irq, softirq, steal)))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_kib(pids: Sequence[int]) -> int:
    """KiB of RAM that these processes have (VmRSS). Raises StepError if one is gone."""
    try:
        texts = [Path(f"/proc/{pid}/status").read_text("ascii") for pid in pids]
        return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in texts)
    except (OSError, IndexError):
        raise StepError(f"reading memory: no process {' or '.join(map(str, pids))}") from None
