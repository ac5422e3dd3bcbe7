"""Guard rails: wrong passwords by address, and messages of one device."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import warnings
from xzgw.core.throttle import ALLOWED, DELAY, MAX_ADDRESSES, WINDOW, MessageLimit, WrongAnswers

HOME, OFFICE = "198.51.100.7", "2001:db8::7"
START = 1757567894.9  # clock seconds


class WrongAnswersTests(SynchronousTestCase):
    """Who guesses is slowed down."""

    def setUp(self) -> None:
        self.now = START
        self.wrong = WrongAnswers(lambda: self.now)

    def note(self, count: int, address: str = HOME, every: float = 0.0) -> list[float]:
        """Wrong answers of one address, that many seconds apart; the delays."""
        delays = []
        for _ in range(count):
            delays.append(self.wrong.note(address))
            self.now += every
        return delays

    def test_ten(self) -> None:
        """Ten wrong ones are told at once, further ones a second late."""
        self.assertEqual((ALLOWED, WINDOW, DELAY), (10, 60.0, 1.0))
        self.assertEqual(self.note(13), [0.0] * 10 + [1.0] * 3)

    def test_addresses(self) -> None:
        """Nobody waits for the wrong answers of another address."""
        self.note(20)
        self.assertEqual(self.note(11, OFFICE), [0.0] * 10 + [1.0])
        self.assertEqual(self.wrong.total, 31)

    def test_network(self) -> None:
        """An IPv6 /64 is one address; the log has the whole one that was heard last."""
        with capturedLogs() as logs:
            delays = [self.wrong.note(f"2001:db8::{number:x}") for number in range(1, 12)]
        self.assertEqual(delays, [0.0] * 10 + [1.0])
        self.assertTrue(self.wrong.over("2001:db8::ffff:1"))
        self.assertFalse(self.wrong.over("2001:db8:0:1::1"))
        (line,) = warnings(logs)
        self.assertTrue(line.startswith("2001:db8::b: "), line)

    def test_minute(self) -> None:
        """Only those of the last minute count."""
        self.note(10)
        self.now += WINDOW - 0.1
        self.assertEqual(self.note(1), [1.0])
        self.now += 0.2  # the ten are over a minute old, the one is not
        self.assertEqual(self.note(10), [0.0] * 9 + [1.0])

    def test_slow(self) -> None:
        """Ten a minute are never late, however long it goes on; eleven are from then on."""
        self.assertEqual(set(self.note(1000, every=6.0)), {0.0})
        self.assertEqual(set(self.note(1000, OFFICE, every=5.4)[10:]), {1.0})

    def test_late_ones_count(self) -> None:
        """Who goes on guessing goes on waiting."""
        self.note(11)
        for _ in range(100):
            self.now += 5.0
            self.assertEqual(self.note(1), [1.0])

    def test_log(self) -> None:
        """One line a minute for an address, however many wrong answers come from it."""
        with capturedLogs() as logs:
            self.note(10)
            self.assertEqual(warnings(logs), [])
            self.note(90)
            self.note(10, OFFICE)
            self.assertEqual(len(warnings(logs)), 1)
            self.note(1, OFFICE)
            lines = warnings(logs)
            self.assertEqual(
                lines,
                [
                    f"{address}: more than 10 wrong passwords or tokens within a minute;"
                    f" further ones are answered late ({total} from everywhere)"
                    for address, total in ((HOME, 11), (OFFICE, 111))
                ],
            )
            self.note(60, every=1.0)
            self.assertEqual(len(warnings(logs)), 2)
            self.note(60, every=1.0)
            self.assertEqual(len(warnings(logs)), 3)

    def test_log_near_the_limit(self) -> None:
        """Just over the limit now and then is one line a minute, too, not one each time."""
        with capturedLogs() as logs:
            late = sum(self.note(200, every=5.9))
        self.assertGreater(late, 100)
        # From the 11th, at 59 s, on: the first one after each full minute, 64.9 s apart.
        self.assertEqual(len(warnings(logs)), 18)

    def test_bounded(self) -> None:
        """Of too many addresses, the one heard least recently is forgotten."""
        self.note(10)
        self.note(10, OFFICE)
        for number in range(MAX_ADDRESSES - 2):
            self.wrong.note(str(number))
        self.assertEqual(self.note(1), [1.0])  # no new one, and now the latest
        self.wrong.note("one more")
        self.assertEqual(self.note(1, OFFICE), [0.0])
        self.assertEqual(self.note(1), [1.0])


class MessageLimitTests(SynchronousTestCase):
    """A device of which ten messages a second pass, and a hundred at once."""

    def setUp(self) -> None:
        self.limit = MessageLimit(10, 100, START)

    def passed(self, count: int, now: float) -> int:
        """How many of so many messages at one moment pass."""
        return sum(self.limit.take(now) for _ in range(count))

    def test_burst(self) -> None:
        """A burst passes; what is more is refused and counted."""
        self.assertEqual(self.passed(130, START), 100)
        self.assertEqual((self.limit.refused, self.limit.row), (30, 30))

    def test_rate(self) -> None:
        """In the long run the rate passes."""
        self.passed(100, START)
        self.assertEqual([self.passed(50, START + s) for s in (1, 2, 4)], [10, 10, 20])

    def test_full(self) -> None:
        """What is not used is saved up to one burst and no more."""
        self.passed(100, START)
        self.assertEqual(self.passed(1000, START + 3600), 100)

    def test_clock_set_back(self) -> None:
        """A clock that goes back takes nothing away from the device."""
        self.passed(50, START)
        self.assertEqual(self.passed(60, START - 3600), 50)
        self.assertEqual(self.passed(20, START - 3599), 10)

    def test_abuse(self) -> None:
        """Who has more than a burst refused in a row goes too far."""
        self.passed(200, START)
        self.assertFalse(self.limit.abused)
        self.limit.take(START)
        self.assertTrue(self.limit.abused)

    def test_better_ways(self) -> None:
        """Who gives it a rest until the half is saved up starts anew; the count goes on."""
        self.passed(200, START)
        self.passed(1, START + 4.9)
        self.assertEqual(self.limit.row, 100)
        self.passed(1, START + 5.2)
        self.assertEqual((self.limit.row, self.limit.refused), (0, 100))
        self.assertFalse(self.limit.abused)

    def test_to_be_told(self) -> None:
        """The first refusal is to be logged, and then one a minute."""
        told = [self.limit.to_be_told(START + s) for s in (0, 0, 59.9, 60, 60, 119.9, 120, 1000)]
        self.assertEqual(told, [True, False, False, True, False, False, True, True])

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 64)), max_size=30))
    @settings(derandomize=True, deadline=None)
    def test_never_more(self, steps: list[tuple[int, int]]) -> None:
        """Between any two moments no more pass than a burst and the rate allow."""
        limit = MessageLimit(8, 16, 0.0)
        now, passed = 0.0, []
        for count, pause in steps:
            now += pause / 8
            passed += [now] * sum(limit.take(now) for _ in range(count))
        for first, start in enumerate(passed):
            for last in range(first, len(passed)):
                self.assertLessEqual(last - first + 1, 16 + (passed[last] - start) * 8)
        self.assertEqual(limit.refused, sum(count for count, _ in steps) - len(passed))
