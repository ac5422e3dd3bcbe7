"""How long each device has talked today."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.talk_time import MAX_DEVICES, TalkTime

NOON = 1757563200.0  # 12:00 in China, 04:00 in UTC
HOUR = 3600.0


def set_zone(zone: str | None) -> None:
    """Let local time be that of this zone; None for the machine's."""
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()


class TalkTimeTests(SynchronousTestCase):
    """A gateway in China."""

    def setUp(self) -> None:
        self.addCleanup(set_zone, os.environ.get("TZ"))
        set_zone("CST-8")
        self.now = NOON
        self.talk = TalkTime(lambda: self.now)

    def test_nothing(self) -> None:
        """A device that was never heard of has not talked."""
        self.assertEqual(self.talk.today("a"), 0.0)

    def test_sum(self) -> None:
        """The sessions of one day add up, each device's apart."""
        self.talk.add("a", 10.5)
        self.talk.add("b", 1.0)
        self.now += HOUR
        self.talk.add("a", 2.0)
        self.assertEqual((self.talk.today("a"), self.talk.today("b")), (12.5, 1.0))

    def test_local_midnight(self) -> None:
        """The day ends at local midnight, not at that of UTC."""
        self.talk.add("a", 10.0)
        self.now = NOON + 12 * HOUR - 1
        self.assertEqual(self.talk.today("a"), 10.0)
        self.now += 1
        self.assertEqual(self.talk.today("a"), 0.0)
        self.now += 8 * HOUR  # midnight in UTC
        self.talk.add("a", 3.0)
        self.now += 1
        self.assertEqual(self.talk.today("a"), 3.0)

    def test_session_over_midnight(self) -> None:
        """It counts for the day on which it ends, and nothing of the day before with it."""
        self.talk.add("a", 10.0)
        self.now += 12 * HOUR
        self.talk.add("a", 20.0)
        self.assertEqual(self.talk.today("a"), 20.0)

    def test_bounded(self) -> None:
        """Of too many devices, the one that ended a session least recently is forgotten."""
        self.talk.add("first", 1.0)
        self.talk.add("second", 2.0)
        self.talk.add("first", 4.0)
        for number in range(MAX_DEVICES - 2):
            self.talk.add(str(number), 1.0)
        self.talk.add("first", 8.0)  # no new one
        self.assertEqual(self.talk.today("second"), 2.0)
        self.talk.add("last", 1.0)
        known = [self.talk.today(name) for name in ("first", "second", "0", "last")]
        self.assertEqual(known, [13.0, 0.0, 1.0, 1.0])
