"""What the service manager is told, over real sockets."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from twisted.application.service import MultiService
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import warnings
from xzgw.net.notify import Notifier, NotifyService


class NotifyTests(SynchronousTestCase):
    """A manager listens at a path, or at a name in the abstract namespace."""

    def manager(self, address: str) -> socket.socket:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(5)
        manager.bind(address)
        return manager

    def assertTells(self, manager: socket.socket, address: str) -> None:
        """Each message arrives as one datagram of lines."""
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready("serving")
        self.assertEqual(manager.recv(4096), b"READY=1\nSTATUS=serving")
        notifier.stopping("going")
        self.assertEqual(manager.recv(4096), b"STOPPING=1\nSTATUS=going")
        notifier.status("设备 2\nREADY=1")
        self.assertEqual(manager.recv(4096).decode(), "STATUS=设备 2 READY=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading("again")
        first, second, third = manager.recv(4096).decode().split("\n")
        self.assertEqual((first, third), ("RELOADING=1", "STATUS=again"))
        name, _, value = second.partition("=")
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.assertEqual(name, "MONOTONIC_USEC")
        self.assertTrue(before <= int(value) <= after, (before, value, after))

    def test_path(self) -> None:
        """A path in the file system."""
        address = "notify.sock"  # in trial's own directory; a longer path would not fit
        self.addCleanup(Path(address).unlink)
        self.assertTells(self.manager(address), address)

    def test_abstract(self) -> None:
        """A name that begins with @."""
        name = f"xzgw-test-{self.id()}"
        self.assertTells(self.manager("\0" + name), "@" + name)

    def test_nobody(self) -> None:
        """Without a manager nothing happens."""
        with capturedLogs() as logs:
            Notifier({}).ready("serving")
            Notifier({"NOTIFY_SOCKET": ""}).stopping("going")
        self.assertEqual(logs, [])

    def test_unreachable(self) -> None:
        """A manager that cannot be told is a line in the log, and nothing worse."""
        for address in ("/nonexistent/notify.sock", "@xzgw-nobody-listens-here", "vsock:2:1234"):
            with capturedLogs() as logs:
                Notifier({"NOTIFY_SOCKET": address}).ready("serving")
            [line] = warnings(logs)
            self.assertIn("cannot tell the service manager READY=1: ", line)

    def test_service(self) -> None:
        """Ready at the start, stopping at the end."""
        name = f"xzgw-test-{self.id()}"
        manager = self.manager("\0" + name)
        whole = MultiService()
        NotifyService(Notifier({"NOTIFY_SOCKET": "@" + name})).setServiceParent(whole)
        whole.startService()
        self.assertTrue(manager.recv(4096).startswith(b"READY=1\n"))
        whole.stopService()
        self.assertTrue(manager.recv(4096).startswith(b"STOPPING=1\n"))
