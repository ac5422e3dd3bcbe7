"""A changed configuration file is taken, a broken one is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import CONFIG, warnings
from xzgw.config import Config, ConfigError
from xzgw.core.sayings import Saying, say
from xzgw.reload import ConfigWatcher, Reading


class ReloadTestCase(SynchronousTestCase):
    """A file, and a loader whose answers the tests choose."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("1")
        self.config = replace(CONFIG, source=self.path)
        self.applied: list[Config] = []
        self.loads = 0
        self.now = 1000.0  # unix time
        self.problems: list[str] = []
        self.found: list[Saying] = []
        self.watcher = self.watch(self.config)

    def watch(self, config: Config) -> ConfigWatcher:
        """A watcher that starts with this configuration."""
        return ConfigWatcher(self.read(config), self.load, self.applied.append)

    def read(self, config: Config) -> Reading:
        """This configuration was read just now."""
        self.reading = Reading(config, lambda: self.now)
        return self.reading

    def load(self) -> tuple[Config, tuple[Saying, ...]]:
        """Reads as the tests want."""
        self.loads += 1
        if self.problems:
            raise ConfigError(self.problems)
        return self.config, tuple(self.found)

    def change(self, text: str, **values: object) -> None:
        """The file gets another content; the loader makes that of it."""
        self.path.write_text(text)
        self.config = replace(self.config, **values)  # type: ignore[arg-type]

    def look(self, look: Callable[[], None] | None = None) -> list[str]:
        """Look once; the warnings and errors logged."""
        with capturedLogs() as logs:
            (look or self.watcher.look)()
        self.logs = [formatEvent(event) for event in logs]
        self.levels = [event["log_level"] for event in logs]
        return warnings(logs)


class ReloadTests(ReloadTestCase):
    """One look after another."""

    def test_unchanged(self) -> None:
        """A file that is as it was is not read again."""
        for _ in range(3):
            self.assertEqual(self.look(), [])
        self.assertEqual((self.loads, self.applied, self.logs), (0, [], []))

    def test_changed(self) -> None:
        """Another content is read and applied, once."""
        self.change("22", public_ip="192.0.2.2")
        self.assertEqual(self.look(), [])
        self.assertEqual(self.logs, [f"configuration read again from {self.path}"])
        self.look()
        self.assertEqual(self.applied, [self.config])
        self.assertEqual(self.loads, 1)
        self.change("333", public_ip="192.0.2.3")
        self.look()
        self.assertEqual([config.public_ip for config in self.applied], ["192.0.2.2", "192.0.2.3"])

    def test_same_size(self) -> None:
        """A newer file of the same length is another one."""
        self.change("2")
        os.utime(self.path, ns=(0, self.path.stat().st_mtime_ns + 1))
        self.look()
        self.assertEqual(self.loads, 1)

    def test_replaced(self) -> None:
        """So is one that was moved into its place with the old one's length and time."""
        status = self.path.stat()
        other = self.path.with_suffix(".new")
        other.write_text("2")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(self.path)
        self.look()
        self.assertEqual(self.loads, 1)

    def test_broken(self) -> None:
        """Mistakes are logged, one line each; the old configuration stays until it is mended."""
        self.problems = ["xzgw.json: udp_port: found 'x'", "xzgw.json: debug: found 5"]
        self.change("22")
        expected = [
            f"configuration not taken, the old one stays: {problem}" for problem in self.problems
        ]
        self.assertEqual(self.look(), expected)
        self.assertEqual(self.levels, [LogLevel.error] * 2)
        self.assertEqual(self.applied, [])
        self.assertEqual(self.look(), [])  # said once
        self.problems = []
        self.change("333", debug=True)
        self.assertEqual(self.look(), [])
        self.assertEqual(self.applied, [self.config])

    def test_vanished(self) -> None:
        """A file that is gone is a mistake, said once and on each demand: what would be left are
        the defaults. When it is back, with the same content or another, it is read again.
        """
        content = self.path.read_text()
        gone = f"configuration not taken, the old one stays: {self.path}: the file is gone"
        self.config = replace(self.config, source=None)  # what a loader would make of it
        self.path.unlink()
        self.assertEqual(self.look(), [gone])
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(lambda: self.watcher.look(force=True)), [gone])
        self.assertEqual(self.applied, [])
        self.assertEqual(
            self.reading.report()["not_taken"]["problems"], [f"{self.path}: the file is gone"]
        )
        self.config = replace(self.config, source=self.path)
        self.path.write_text(content)
        self.look()
        self.assertEqual(self.applied, [self.config])

    def test_vanished_before_another(self) -> None:
        """It is missed as well where a weaker file would take its place."""
        self.path.unlink()
        self.config = replace(self.config, source=self.path.with_suffix(".weaker"))
        self.assertEqual(len(self.look()), 1)
        self.assertEqual(self.applied, [])

    def test_stronger_file(self) -> None:
        """A file that takes the place of one that is still there is taken, and looked at."""
        other = self.path.with_suffix(".stronger")
        other.write_text("1")
        self.config = replace(self.config, source=other)
        self.assertEqual(self.look(lambda: self.watcher.look(force=True)), [])
        self.assertEqual(self.applied, [self.config])
        other.write_text("22")
        self.look()
        self.assertEqual(self.loads, 2)

    def test_vanished_meanwhile(self) -> None:
        """So it is if it goes only when it is read; it is looked at again, however old it is."""
        self.change("22", source=None)
        self.assertEqual(len(self.look()), 1)
        self.config = replace(self.config, source=self.path)
        self.assertEqual(self.look(), [])
        self.assertEqual(self.applied, [self.config])

    def test_warnings(self) -> None:
        """Oddities are logged, and the configuration is taken."""
        self.found = [say("placeholder", where="xzgw.json")]
        self.change("22")
        line = "xzgw.json: a placeholder is left out"
        self.assertEqual(self.look(), [f"configuration: {line}"])
        self.assertEqual(self.applied, [self.config])
        self.assertEqual(self.reading.report()["warnings"], [line])
        parts = {"id": "placeholder", "values": {"where": "xzgw.json"}}
        self.assertEqual(self.reading.report()["warning_parts"], [[parts]])
        self.found = []
        self.change("333")
        self.look()
        self.assertEqual(self.reading.report()["warnings"], [])

    def test_first_warnings(self) -> None:
        """Those of the first configuration are reported, with what is odd besides."""
        odd, small = say("placeholder", where="xzgw.json"), say("address_none")
        reading = Reading(self.config, lambda: 0.0, [odd], lambda: [small])
        self.assertEqual(reading.report()["warnings"], [odd, small])

    def test_needs_restart(self) -> None:
        """Listeners stay as they are; the log names each setting, again only if it changes."""
        self.change("22", mqtt=("tcp:1",), api="tcp:2", udp_host="192.0.2.1", udp_port=3)
        self.config = replace(self.config, udp_socket="fd:3", signature_key="weak")
        self.assertEqual(
            self.look(),
            [
                f"configuration: a change of {name} needs a restart"
                for name in ("mqtt", "api", "udp_host", "udp_port", "udp_socket", "admin_api")
            ],
        )
        self.assertEqual(self.applied, [self.config])
        self.change("333", debug=True)
        self.assertEqual(self.look(), [])

    def test_report(self) -> None:
        """What is in use and since when."""
        self.assertEqual(self.reading.report()["read_at"], 1000.0)
        self.now += 5
        self.change("22", public_ip="192.0.2.2", api="tcp:2")
        self.look()
        report = self.reading.report()
        self.assertEqual(report["source"], str(self.path))
        self.assertEqual((report["read_at"], report["not_taken"]), (1005.0, None))
        self.assertEqual(report["config"]["public_ip"], "192.0.2.2")
        self.assertEqual(report["needs_restart"], ["api"])

    def test_report_unchanged_listeners(self) -> None:
        """What is again as it was at the start needs no restart."""
        start = self.config.api
        self.change("22", api="tcp:2")
        self.look()
        self.change("333", api=start)
        self.look()
        self.assertEqual(self.reading.report()["needs_restart"], [])

    def test_report_broken(self) -> None:
        """Why the last one was not taken, until one is; what is in use stays."""
        self.problems = ["xzgw.json: oops"]
        self.change("22", public_ip="192.0.2.2")
        self.now += 5
        self.look()
        report = self.reading.report()
        self.assertEqual(report["not_taken"], {"at": 1005.0, "problems": ["xzgw.json: oops"]})
        self.assertEqual(report["read_at"], 1000.0)
        self.assertEqual(report["config"]["public_ip"], CONFIG.public_ip)
        self.problems = []
        self.change("333")
        self.look()
        self.assertIsNone(self.reading.report()["not_taken"])

    def test_report_without_file(self) -> None:
        """The environment alone has no path."""
        reading = self.read(replace(self.config, source=None))
        self.assertIsNone(reading.report()["source"])

    def test_no_file(self) -> None:
        """Without a file there is nothing to look at."""
        watcher = self.watch(replace(self.config, source=None))
        self.change("22")
        self.assertEqual(self.look(watcher.look), [])
        self.assertEqual(self.loads, 0)

    def test_force(self) -> None:
        """On demand everything is read, file or not; the next look finds nothing new."""
        for config in (self.config, replace(self.config, source=None)):
            self.config = config
            watcher = self.watch(config)
            self.assertEqual(self.look(lambda w=watcher: w.look(force=True)), [])  # type: ignore[misc]
            where = config.source or "the environment"
            self.assertEqual(self.logs, [f"configuration read again from {where}"])
            self.look(watcher.look)
        self.assertEqual(self.loads, 2)

    def test_force_broken(self) -> None:
        """A mistake leaves the old configuration; the file is not looked at again for it."""
        self.problems = ["xzgw.json: debug: found 5"]
        (line,) = self.look(lambda: self.watcher.look(force=True))
        self.assertIn("the old one stays", line)
        self.assertEqual(self.look(), [])
        self.assertEqual((self.loads, self.applied), (1, []))

    def test_new_file(self) -> None:
        """A file that was not there before is looked at from then on."""
        watcher = self.watch(replace(self.config, source=None))
        watcher.look(force=True)
        self.look(watcher.look)
        self.assertEqual(self.loads, 1)
        self.change("22", debug=True)
        self.look(watcher.look)
        self.assertEqual(self.applied[-1], self.config)
