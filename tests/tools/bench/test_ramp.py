"""Searching for the largest number of devices."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from xzgw.tools.bench.ramp import TRIES, Found, Verdict, search

HOLDS, GATEWAY, BENCH = Verdict.HOLDS, Verdict.GATEWAY, Verdict.BENCH


class SearchTests(SynchronousTestCase):
    """On loads whose limit is known."""

    def search(self, start: int, most: int, limit: int, verdict: Verdict = GATEWAY) -> Found:
        self.tried: list[int] = []

        def measure(count: int) -> Verdict:
            self.tried.append(count)
            return HOLDS if count <= limit else verdict

        return search(start, most, measure)

    def test_finds(self) -> None:
        """It finds the limit, at most a twentieth too low, in a bounded number of loads."""
        for start in (1, 10, 100, 1000):
            for limit in (*range(1, 60), 100, 777, 2048, 9999):
                found = self.search(start, 10_000, limit)
                self.assertLessEqual(found.devices, limit)
                self.assertGreaterEqual(found.devices, limit - max(1, limit // 20), (start, limit))
                self.assertEqual(found.limit, GATEWAY)
                assert found.exceeded is not None
                self.assertGreater(found.exceeded, limit)
                self.assertLess(len(self.tried), 40)

    def test_most(self) -> None:
        """What holds at the largest number allowed has no limit that was found."""
        self.assertEqual(self.search(100, 500, 10_000), Found(500, HOLDS, None))
        self.assertEqual(self.tried, [100, 200, 400, 500])
        self.assertEqual(self.search(600, 500, 10_000), Found(500, HOLDS, None))

    def test_none(self) -> None:
        """When not even one device is carried, it ends and says so."""
        self.assertEqual(self.search(100, 500, 0), Found(0, GATEWAY, 1))

    def test_bench(self) -> None:
        """Where the bench could not do more, that is the verdict."""
        found = self.search(100, 10_000, 400, BENCH)
        self.assertEqual((found.devices, found.limit), (400, BENCH))

    def test_stall(self) -> None:
        """One stall ends nothing: a number is given up only after all its tries."""
        stalled: set[int] = set()

        def measure(count: int) -> Verdict:
            first = count not in stalled
            stalled.add(count)
            return GATEWAY if first else HOLDS

        self.assertEqual(TRIES, 2)
        self.assertEqual(search(10, 80, measure), Found(80, HOLDS, None))
