"""The bench's command line."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

from twisted.trial.unittest import SynchronousTestCase

from tests.support import KEY, environment
from xzgw.tools.bench.options import KEY_VARIABLE, Plan, read

GIVEN = ("--mqtt-port", "1883", "--server", "8000")


class OptionsTests(SynchronousTestCase):
    """What is read, and what is refused."""

    def refused(self, *arguments: str) -> str:
        """What a wrong command line is told; the status is 2."""
        with redirect_stderr(io.StringIO()) as told, self.assertRaises(SystemExit) as caught:
            read(arguments)
        self.assertEqual(caught.exception.code, 2)
        return told.getvalue()

    def plan(self, *arguments: str) -> Plan:
        with environment(KEY_VARIABLE, KEY):
            return read(arguments)

    def test_usual(self) -> None:
        """By default a gateway is started, which gets a key of its own."""
        plan = self.plan()
        self.assertIsNone(plan.mqtt_port)
        self.assertIsNone(plan.key)
        self.assertTrue(plan.up and plan.down)
        self.assertEqual((plan.warmup, plan.duration), (3.0, 15.0))
        ramp = self.plan("--ramp")
        self.assertEqual((ramp.warmup, ramp.duration), (2.0, 5.0))
        self.assertEqual(self.plan("--ramp", "--warmup", "0").warmup, 0)

    def test_given(self) -> None:
        """A given gateway has the key of the environment, or else that of the command line."""
        plan = self.plan(*GIVEN, "--gateway-pid", "7", "--gateway-pid", "8")
        self.assertEqual((plan.key, plan.pids), (KEY, (7, 8)))
        self.assertEqual(plan.server, ("127.0.0.1", 8000))
        self.assertEqual(self.plan(*GIVEN, "--key", "other").key, "other")
        self.assertNotIn(KEY, repr(plan))

    def test_server(self) -> None:
        """The chat server's place may be of either family."""
        for text, place in (
            ("0.0.0.0:80", ("0.0.0.0", 80)),
            ("[::]:80", ("::", 80)),
            ("80", ("127.0.0.1", 80)),
        ):
            self.assertEqual(self.plan(*GIVEN[:2], "--server", text).server, place)

    def test_directions(self) -> None:
        """One direction, or both."""
        for word, both in (("up", (True, False)), ("down", (False, True))):
            plan = self.plan("--direction", word)
            self.assertEqual((plan.up, plan.down), both)

    def test_refused(self) -> None:
        """Numbers out of range, no numbers, and options that do not belong together."""
        for arguments in (
            ("--devices", "0"),
            ("--devices", "10001"),
            ("--devices", "x"),
            ("--duration", "0"),
            ("--duration", "nan"),
            ("--frame-ms", "30"),
            ("--frame-bytes", "12"),
            ("--frame-bytes", "1277"),
            ("--server", "8000"),
            ("--gateway-pid", "1"),
            (*GIVEN[:2], "--server", "x"),
            (*GIVEN[:2], "--server", "0"),
            (*GIVEN[:2], "--key", "k"),
            ("--max-loss", "-1"),
        ):
            self.assertIn("error: ", self.refused(*arguments), arguments)

    def test_help(self) -> None:
        """The help can be shown."""
        with redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as caught:
            read(("--help",))
        self.assertEqual(caught.exception.code, 0)
