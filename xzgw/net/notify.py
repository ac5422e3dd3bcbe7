"""Tells the service manager how we are, in the way of sd_notify(3).

Without NOTIFY_SOCKET in the environment there is nobody to tell, and nothing happens.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from twisted.application.service import Service
from twisted.logger import Logger

PATIENCE = 1.0  # s that the manager may take to make room for a datagram


class Notifier:
    """Each message is one datagram; one that cannot be sent is logged and else of no account."""

    _log = Logger()

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Take the process's environment."""
        self._lasting = ""
        address = environ.get("NOTIFY_SOCKET", "")
        # A name in Linux's abstract namespace begins with a zero byte, written as @.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """All ports are open; or, after `reloading`, all is as it should be again. What `status`
        has said before stays.
        """
        self._send("READY=1", f"STATUS={self._lasting or status}")

    def reloading(self, status: str) -> None:
        """The configuration is being read again; `ready` follows."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """The process is about to end."""
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """One line about how things are from now on, which the manager shows."""
        self._lasting = status
        self._send(f"STATUS={status}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        text = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(PATIENCE)
                manager.sendto(text.encode(), self._address)
        except OSError as error:
            self._log.warn("cannot tell the service manager {it}: {why}", it=lines[0], why=error)


class NotifyService(Service):
    """Ready when the service starts, stopping when it stops: the last child of its parent, which
    starts last and stops first.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def startService(self) -> None:
        super().startService()
        self._notifier.ready("serving")

    def stopService(self) -> None:
        super().stopService()
        self._notifier.stopping("saying goodbye to devices")
