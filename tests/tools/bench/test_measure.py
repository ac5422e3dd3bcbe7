"""Whose fault it is when devices are not carried well, and how it is told."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.tools.bench.test_figures import durations
from xzgw.tools.bench.figures import Flow, Limits, Tally
from xzgw.tools.bench.measure import Crowd, Load
from xzgw.tools.bench.options import read
from xzgw.tools.bench.ramp import Found, Verdict
from xzgw.tools.bench.report import Report, as_json, table


def load(
    *,
    up: Flow | None = None,
    down: Flow | None = None,
    late: float = 1.0,
    skipped: int = 0,
    share: float = 0.5,
    lost: str = "",
) -> Load:
    """A load that holds, but for what is given."""
    tally = Tally(up or flow(), down or flow(), durations(*[late] * 100), skipped)
    if lost:
        tally.lost[lost] = 1
    return Load(100, 10.0, tally, 0.4, (0.2, share), 0.1, Limits())


def flow(lost: int = 0, latency: float = 1.0) -> Flow:
    """10,000 frames, so many of them lost, all with that latency (ms)."""
    arrived = 10_000 - lost
    return Flow(10_000, arrived, 0, durations(*[latency] * arrived))


class LoadTests(SynchronousTestCase):
    """Verdicts and what is derived."""

    def test_holds(self) -> None:
        """Loss of 0.5 % and 100 ms are carried well, a core of the bench that is full as well."""
        for one in (
            load(),
            load(up=flow(lost=50)),
            load(down=flow(latency=99.9)),
            load(share=1.0),
            load(late=19.9),
            load(up=Flow()),
        ):
            self.assertEqual(one.verdict, Verdict.HOLDS)
            self.assertFalse(one.bench_lags)

    def test_gateway(self) -> None:
        """Beyond them in one direction alone, or with a session lost, it is the gateway."""
        for one in (
            load(up=flow(lost=51)),
            load(down=flow(lost=51)),
            load(up=flow(latency=101)),
            load(down=flow(latency=101)),
            load(lost="the gateway ended the session"),
        ):
            self.assertEqual(one.verdict, Verdict.GATEWAY)

    def test_bench(self) -> None:
        """What the bench did not do in time is no merit and no fault of the gateway's."""
        for one in (load(late=20.5), load(skipped=21)):
            self.assertTrue(one.bench_lags)
            self.assertEqual(one.verdict, Verdict.BENCH)
        self.assertEqual(load(up=flow(lost=51), late=20.5).verdict, Verdict.BENCH)
        self.assertEqual(load(up=flow(latency=101), share=0.96).verdict, Verdict.BENCH)

    def test_nothing_sent(self) -> None:
        """A load that never came about is no success."""
        self.assertEqual(replace(load(), tally=Tally()).verdict, Verdict.BENCH)

    def test_cpu(self) -> None:
        """CPU per frame is by the frames that arrived; without a process it is not known."""
        one = load(up=flow(lost=5000), down=flow(lost=5000))
        self.assertAlmostEqual(one.cpu_us or 0, 0.4 * 10 * 1e6 / 10_000)
        self.assertIsNone(replace(one, gateway_share=None).cpu_us)


class ReportTests(SynchronousTestCase):
    """Table and JSON."""

    def report(self, one: Load, found: Found | None = None) -> Report:
        crowd = Crowd(100, durations(1, 2, 3), 400.0, 8.0)
        return Report(read(()), 65_536, crowd, crowd, one, [one], found)

    def test_table(self) -> None:
        """Figures with their units."""
        text = table(self.report(load(up=flow(lost=51))))
        for part in ("64.0 MiB", "400 us each", "8.0 KiB each", "200.5 us a frame", "0.51 %"):
            self.assertIn(part, text)
        self.assertNotIn("THE BENCH COULD NOT", text)

    def test_unknown(self) -> None:
        """What is not known is not shown as nought."""
        report = self.report(replace(load(), gateway_share=None))
        report.base_kib = None
        report.connects = Crowd(100, durations(1), None, None)
        self.assertEqual(table(report).count("not known"), 4)
        self.assertIsNone(as_json(report)["load"]["cpu_us_per_frame"])

    def test_bench_lags(self) -> None:
        """A bench that lags says so."""
        report = self.report(load(skipped=100))
        self.assertIn("THE BENCH COULD NOT KEEP THE PACE", table(report))
        self.assertIn("100 frames, not sent", table(report))
        self.assertTrue(as_json(report)["load"]["bench"]["lags"])

    def test_ramp(self) -> None:
        """A ramp's end and its reason are told."""
        cases = (
            (Found(400, Verdict.GATEWAY, 420), "400 devices were carried well, 420 were not: the"),
            (Found(400, Verdict.BENCH, 420), "The gateway may well carry more"),
            (Found(500, Verdict.HOLDS, None), "500 devices were carried well; more were not tried"),
        )
        for found, words in cases:
            report = self.report(load(), found)
            self.assertIn(words, table(report))
            self.assertEqual(as_json(report)["ramp"]["devices"], found.devices)

    def test_status(self) -> None:
        """Loss is a figure; damage, lost sessions and no result at all are faults."""
        self.assertEqual(self.report(load(up=flow(lost=5000))).status, 0)
        self.assertEqual(self.report(load(lost="reason")).status, 1)
        self.assertEqual(self.report(load(down=Flow(1, 0, 1))).status, 1)
        self.assertEqual(Report(read(("--ramp",)), None).status, 1)
