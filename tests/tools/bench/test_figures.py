"""Durations in bounded room, and sums over processes."""

from __future__ import annotations

import pickle
import random

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.bench.figures import Durations, Flow, Steps, Tally

MS = 1_000_000  # ns


def durations(*milliseconds: float) -> Durations:
    made = Durations()
    for one in milliseconds:
        made.add(round(one * MS))
    return made


class DurationsTests(SynchronousTestCase):
    """Percentiles."""

    def test_percentiles(self) -> None:
        """They are those of the whole list, but for the grain."""
        rng = random.Random(1)
        exact = sorted(rng.expovariate(1 / 40) for _ in range(5000))  # ms, many beyond 100
        rng.shuffle(shuffled := exact.copy())
        made = durations(*shuffled)
        for percent in (50, 95, 99):
            true = exact[len(exact) * percent // 100 - 1]
            found = made.percentile(percent)
            assert found is not None
            self.assertLessEqual(true, found + 1e-6)
            self.assertLess(found, true + (0.011 if true < 100 else 1.001))
        self.assertEqual(made.percentile(100), round(exact[-1] * MS) / MS)
        self.assertEqual(made.number, 5000)

    def test_few(self) -> None:
        """One is all percentiles, exactly; none has no percentile."""
        self.assertEqual(durations(7.123).percentile(1), 7.123)
        self.assertEqual(durations(250.5).percentile(99), 250.5)
        self.assertIsNone(Durations().percentile(50))

    def test_bounded(self) -> None:
        """The room does not grow with the number."""
        made = durations(*(n % 200 for n in range(10_000)))
        self.assertLessEqual(len(made.counts), 200)

    def test_merge(self) -> None:
        """Merged, they are as if counted in one place; they survive the way between processes."""
        one, other = durations(1, 2, 300), durations(3, 400)
        one.merge(pickle.loads(pickle.dumps(other)))
        whole = durations(1, 2, 300, 3, 400)
        self.assertEqual(
            (one.counts, one.longest, one.number), (whole.counts, whole.longest, whole.number)
        )


class MergeTests(SynchronousTestCase):
    """What processes counted apart."""

    def test_flow(self) -> None:
        """Loss is known only of the whole: frames may be sent here and arrive there."""
        whole = Flow(sent=100)
        whole.merge(Flow(arrived=90, damaged=1))
        self.assertEqual((whole.sent, whole.arrived, whole.damaged), (100, 90, 1))
        self.assertAlmostEqual(whole.loss or 0, 0.1)
        self.assertIsNone(Flow().loss)

    def test_tally(self) -> None:
        """All of it is added."""
        part = Tally(up=Flow(sent=1), down=Flow(sent=2), late=durations(3), skipped=4)
        part.lost["gone"] = 5
        whole = Tally()
        whole.merge(part)
        whole.merge(part)
        self.assertEqual((whole.up.sent, whole.down.sent, whole.skipped), (2, 4, 8))
        self.assertEqual((whole.late.number, whole.lost["gone"]), (2, 10))

    def test_steps(self) -> None:
        """The same for the steps."""
        part = Steps(done=2, took=durations(1, 2))
        part.failed["refused"] = 3
        whole = Steps()
        whole.merge(part)
        whole.merge(part)
        self.assertEqual((whole.done, whole.took.number, whole.failed["refused"]), (4, 4, 6))
