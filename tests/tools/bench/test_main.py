"""`make bench`: is what it says true, and does it end well."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import KEY, PATH, GatewayProcess, environment
from tests.tools.bench.udp_relay import HOST, Relay
from xzgw.tools.bench import options
from xzgw.tools.bench.__main__ import Run
from xzgw.tools.bench.ramp import Verdict
from xzgw.tools.bench.report import Report, as_json, table
from xzgw.tools.demo import free_ports
from xzgw.tools.narration import Say
from xzgw.tools.steps import StepError

SHORT = ("--warmup", "0.2", "--duration", "1", "--settle", "0.1", "--processes", "1")
# Nothing is to be said about a machine that other tests keep busy.
PATIENT = ("--max-p99", "5000")


class GivenGatewayTests(SynchronousTestCase):
    """A gateway that the bench did not start, behind a relay that harms."""

    def start(self, relay: Relay) -> None:
        self.addCleanup(relay.close)
        self.server = f"{HOST}:{free_ports().mqtt}"
        settings = {
            "CHAT_SERVERS": f"ws://{self.server}{PATH}",
            "PUBLIC_IP": HOST,
            "PUBLIC_UDP_PORT": str(relay.port),
        }
        self.gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(self.gateway.kill)
        relay.gateway = int(self.gateway.wait_for(r"audio over UDP at 127\.0\.0\.1:(\d+)")[1])
        self.said: list[str] = []

    def bench(self, *arguments: str, say: Say | None = None) -> Report:
        where = ("--mqtt-port", str(self.gateway.mqtt_port), "--server", self.server)
        with environment(options.KEY_VARIABLE, KEY):
            plan = options.read([*SHORT, *PATIENT, *where, *arguments])
        return Run(plan, say or self.said.append).run()

    def test_harm(self) -> None:
        """Every tenth frame dropped is a loss of 10 % each way; 50 ms of delay are shown."""
        self.start(Relay(drop_every=10, delay=0.05))
        report = self.bench("--devices", "6")
        assert report.load is not None
        for flow in (report.load.tally.up, report.load.tally.down):
            self.assertGreater(flow.sent, 80)
            self.assertLessEqual(abs(flow.sent - flow.arrived - flow.sent / 10), 1)
            self.assertEqual((flow.damaged, flow.latency.number), (0, flow.arrived))
            fastest, median = flow.latency.percentile(0), flow.latency.percentile(50)
            assert fastest is not None and median is not None
            self.assertGreaterEqual(fastest, 50)
            self.assertLess(median, 90)
        self.assertEqual(report.load.verdict, Verdict.GATEWAY)
        self.assertEqual(report.status, 0)
        self.assertIsNone(report.base_kib)
        self.assertIsNone(as_json(report)["load"]["cpu_us_per_frame"])

    def test_ramp(self) -> None:
        """What carries three devices is found to carry three."""
        self.start(Relay(admitted=3))
        report = self.bench("--devices", "2", "--ramp", "--duration", "0.5")
        found = report.found
        assert found is not None and report.load is not None
        self.assertEqual((found.devices, found.exceeded), (3, 4), self.said)
        self.assertEqual(found.limit, Verdict.GATEWAY)
        self.assertEqual(report.load.devices, 3)
        self.assertEqual(report.load.tally.up.arrived, report.load.tally.up.sent)

    def test_one_way(self) -> None:
        """Audio to devices alone reaches them, too, and its loss is its own."""
        self.start(Relay(drop_every=10))
        report = self.bench("--devices", "3", "--direction", "down")
        assert report.load is not None
        up, down = report.load.tally.up, report.load.tally.down
        self.assertEqual((up.sent, up.loss), (0, None))
        self.assertGreater(down.sent, 40)
        self.assertLessEqual(abs(down.sent - down.arrived - down.sent / 10), 1)

    def test_other_server(self) -> None:
        """When the gateway's sessions go elsewhere, that is said, and nothing is measured."""
        self.start(Relay())
        self.server = f"{HOST}:{free_ports().mqtt}"
        with self.assertRaises(StepError) as caught:
            self.bench("--devices", "1")
        self.assertIn("hello: the gateway says", str(caught.exception))

    def test_wrong_key(self) -> None:
        """A key that is not the gateway's is named as what it looks like."""
        self.start(Relay())
        with self.assertRaises(StepError) as caught:
            self.bench("--devices", "1", "--key", "Another8Key")
        self.assertIn("MQTT CONNECT: refused, code", str(caught.exception))

    def test_killed(self) -> None:
        """A gateway that dies while devices talk is a fault, even if its process is not known."""
        self.start(Relay())

        def say(line: str) -> None:
            if "talk" in line:
                self.gateway.kill()

        report = self.bench("--devices", "2", say=say)
        assert report.load is not None
        self.assertEqual(report.status, 1)
        self.assertGreater(report.load.tally.lost.total(), 0)
        self.assertIn("LOST", table(report))


class OwnGatewayTests(SynchronousTestCase):
    """The whole command."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        # None of this may reach the bench's gateway.
        environ |= {"MQTT_PORT": "1", "XZGW_CONFIG": "/nowhere", "XZGW_UDP": "nonsense"}
        process = subprocess.Popen(
            [sys.executable, "-m", "xzgw.tools.bench", *SHORT, *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def assert_nobody_left(self, process: subprocess.Popen[str]) -> None:
        """Neither gateway nor fleet survives the bench."""
        with self.assertRaises(ProcessLookupError):
            os.killpg(process.pid, 0)

    def test_figures(self) -> None:
        """All figures are there, as table and as JSON, and they are plausible."""
        target = Path(self.mktemp())
        process = self.start("--devices", "30", "--json", str(target))
        text, progress = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, progress)
        for part in ("base memory", "MQTT connect: gateway's CPU", "us a frame", "p99", "loss"):
            self.assertIn(part, text)
        found = json.loads(target.read_text("utf-8"))
        load = found["load"]
        for direction in ("up", "down"):
            # 30 devices for a second; the machine may be busy
            self.assertLess(abs(load[direction]["sent"] - 500), 100)
            self.assertLess(load[direction]["latency_ms"]["p50"], 1000)
        self.assertGreater(load["frames_per_second"], 500)
        self.assertTrue(2 < load["cpu_us_per_frame"] < 2000, load)
        self.assertTrue(10_000 < found["base_kib"] < 500_000)
        self.assertEqual((found["connects"]["devices"], found["sessions"]["devices"]), (30, 30))
        for crowd in (found["connects"], found["sessions"]):
            self.assertTrue(20 < crowd["cpu_us"] < 100_000, crowd)
            self.assertTrue(-10 < crowd["kib"] < 500, crowd)
        self.assert_nobody_left(process)

    def test_interrupted(self) -> None:
        """Ctrl-C ends everything, with one line and a status."""
        process = self.start("--devices", "2", "--duration", "60", "--json", "-")
        assert process.stderr is not None
        for line in process.stderr:
            if "talk" in line:
                break
        process.send_signal(signal.SIGINT)
        text, rest = process.communicate(timeout=60)
        self.assertEqual((process.returncode, text, rest), (130, "", "bench: interrupted\n"))
        self.assert_nobody_left(process)

    def test_gateway_dies(self) -> None:
        """A gateway that ends is an error that shows its last words."""
        process = self.start("--devices", "2", "--duration", "60")
        assert process.stderr is not None
        pid = 0
        for line in process.stderr:
            if found := re.search(r"gateway: process (\d+)", line):
                pid = int(found[1])
            if "talk" in line:
                break
        os.kill(pid, signal.SIGKILL)
        text, rest = process.communicate(timeout=60)
        self.assertEqual((process.returncode, text), (1, ""))
        self.assertIn("bench: FAILED: waiting: the gateway ended with status -9", rest)
        self.assertIn("session start", rest)
        self.assertNotIn("Traceback", rest)
        self.assert_nobody_left(process)

    def test_does_not_start(self) -> None:
        """So is one that does not start."""
        command = [sys.executable, "-c", "print('last words'); raise SystemExit(7)"]
        with self.assertRaises(StepError) as caught:
            Run(options.read(SHORT), lambda _: None, command).run()
        self.assertEqual(
            str(caught.exception),
            "starting the gateway: the gateway ended with status 7; its last log lines:\n"
            "  last words",
        )

    def test_unwritable(self) -> None:
        """A file that cannot be written is found out before the time is spent."""
        process = self.start("--json", "/nowhere/figures.json")
        text, rest = process.communicate(timeout=60)
        self.assertEqual((process.returncode, text), (1, ""))
        self.assertTrue(rest.startswith("bench: FAILED: "), rest)
        self.assertEqual(rest.count("\n"), 1)
