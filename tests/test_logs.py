"""The log as JSON lines."""

from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from xzgw.logs import JsonLines, json_lines


class JsonLinesTests(SynchronousTestCase):
    """What a log collector reads."""

    def setUp(self) -> None:
        self.output = BytesIO()
        self.observer = JsonLines(self.output)
        publisher = LogPublisher(self.observer)
        self.log = Logger("xzgw.test", observer=publisher)

    def records(self) -> list[dict[str, Any]]:
        """What was written, line by line."""
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    def test_event(self) -> None:
        """Time, level, namespace, the finished message and the event's own fields, in order."""
        self.observer(
            {
                "log_time": 1757567894.0625,
                "log_level": LogLevel.warn,
                "log_namespace": "xzgw.net.device",
                "log_format": "connect: {name} from {ip} after {seconds:.1f}s",
                "log_source": self,
                "name": "GID@@@a0",
                "ip": "192.0.2.1",
                "seconds": 0.25,
                "count": 3,
                "clean": True,
            }
        )
        self.assertEqual(
            self.output.getvalue().decode("ascii"),
            '{"time":"2025-09-11T05:18:14.062Z","level":"warn","namespace":"xzgw.net.device",'
            '"message":"connect: GID@@@a0 from 192.0.2.1 after 0.2s",'
            '"name":"GID@@@a0","ip":"192.0.2.1","seconds":0.25,"count":3,"clean":true}\n',
        )

    def test_whole_second(self) -> None:
        """Milliseconds are there even when they are zero."""
        self.observer({"log_time": 0.0, "log_level": LogLevel.info, "log_format": "x"})
        self.assertEqual(self.records()[0]["time"], "1970-01-01T00:00:00.000Z")

    def test_other_fields(self) -> None:
        """Fields that are not plain are left to the message; JSON has no infinities either."""
        self.log.info("{a} {b} {c}", a=(1,), b=float("inf"), c=None, d=b"x", e=1.5)
        (record,) = self.records()
        self.assertEqual(record["message"], "(1,) inf None")
        self.assertEqual(set(record), {"time", "level", "namespace", "message", "e"})

    def test_objects(self) -> None:
        """A field may be an object or a list of plain values and others, but not too deep."""
        good = {"up": {"lost": [1, {"x": 2.5}], "by": {}}, "none": None, "text": "a"}
        self.log.info("x", good=good, empty={})
        bad: list[object] = [{1: 2}, {"a": [b"x"]}, {"a": {"b": float("nan")}}, {"a": b"x"}]
        bad += [{"a": {"b": {"c": {"d": {}}}}}, [[[[[]]]]]]
        for n, value in enumerate(bad):
            self.log.info("y", **{f"bad{n}": value})
        first, *others = self.records()
        self.assertEqual((first["good"], first["empty"]), (good, {}))
        self.assertEqual(len(others), len(bad))
        for record in others:
            self.assertEqual(set(record), {"time", "level", "namespace", "message"})

    def test_fields_cannot_replace(self) -> None:
        """A field of the same name as one of ours does not take its place."""
        self.observer(
            {
                "log_time": 0.0,
                "log_level": LogLevel.error,
                "log_namespace": "xzgw.test",
                "log_format": "it: {message}",
                "message": "mine",
                "time": 5,
                "level": "none",
                "namespace": "?",
            }
        )
        (record,) = self.records()
        self.assertEqual(
            record,
            {
                "time": "1970-01-01T00:00:00.000Z",
                "level": "error",
                "namespace": "xzgw.test",
                "message": "it: mine",
            },
        )

    def test_failure(self) -> None:
        """A failure comes with its traceback, all in one line."""
        try:
            raise RuntimeError("a fault")
        except RuntimeError:
            self.log.failure("while {doing}", doing="testing")
        (record,) = self.records()
        self.assertEqual(record["level"], "critical")
        self.assertEqual(record["message"], "while testing")
        self.assertIn("RuntimeError: a fault", record["failure"])
        self.assertIn("Traceback", record["failure"])
        self.assertEqual(record["doing"], "testing")

    def test_any_text(self) -> None:
        """Text is UTF-8, line ends are escaped, and a lone surrogate does no harm."""
        self.log.info("{text}", text="你好\n\u2028\ud800")
        self.assertIn("你好\\n".encode(), self.output.getvalue())
        self.assertEqual(self.records()[0]["text"], "你好\n\u2028\ud800")

    def test_legacy(self) -> None:
        """Events of twisted.python.log look no different."""
        publisher = legacy.LogPublisher(publishPublisher=LogPublisher(self.observer))
        publisher.msg("Main loop terminated.", port=80)
        publisher.msg(Failure(RuntimeError("a fault")), isError=1, why="because")
        plain, failed = self.records()
        self.assertEqual(plain["message"], "Main loop terminated.")
        self.assertEqual(set(plain), {"time", "level", "namespace", "message", "port"})
        self.assertEqual(plain["level"], "info")
        self.assertEqual(failed["level"], "critical")

    def test_factory(self) -> None:
        """twistd gets an observer of the new kind, which writes to standard output at once."""
        stdout = TextIOWrapper(self.output, "ascii")
        self.patch(sys, "stdout", stdout)
        observer = json_lines()
        self.patch(sys, "stdout", None)
        self.assertTrue(verifyObject(ILogObserver, observer))
        observer({"log_time": 0.0, "log_level": LogLevel.info, "log_format": "说"})
        self.assertEqual(self.records()[0]["message"], "说")
