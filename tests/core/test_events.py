"""What happens, remembered and told."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.events import GAP, HISTORY, Event, Events
from xzgw.wire import messages

START = 1757567894.9  # unix seconds


class EventsTestCase(SynchronousTestCase):
    """A bus of one run."""

    def setUp(self) -> None:
        self.time = START
        self.events = Events(lambda: self.time, "a-run")

    def publish(self, count: int) -> None:
        for number in range(count):
            self.events.publish("connect", client_id=f"c{number}")

    def resumed(self, event_id: str) -> list[tuple[int, str]]:
        return [(event.number, event.kind) for event in self.events.resume(event_id)]


class PublishTests(EventsTestCase):
    """Who hears what."""

    def test_subscriber(self) -> None:
        """Events are heard from subscribing to unsubscribing, numbered without holes."""
        heard: list[Event] = []
        self.publish(1)
        unsubscribe = self.events.subscribe(heard.append)
        self.events.publish("call", caller="a")
        self.time += 1
        self.events.publish("refused", reason="b")
        unsubscribe()
        self.publish(1)
        self.assertEqual(
            heard,
            [
                Event(2, START, "call", {"caller": "a"}),
                Event(3, START + 1, "refused", {"reason": "b"}),
            ],
        )

    def test_fault(self) -> None:
        """A subscriber that fails is logged, and keeps nobody from hearing."""
        heard: list[Event] = []

        def fail(event: Event) -> None:
            raise ZeroDivisionError

        self.events.subscribe(fail)
        self.events.subscribe(heard.append)
        self.publish(2)
        self.assertEqual([event.number for event in heard], [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_unsubscribe_inside(self) -> None:
        """A subscriber may unsubscribe when told, and the others hear all the same."""
        heard: list[Event] = []
        unsubscribe = self.events.subscribe(lambda event: unsubscribe())
        self.events.subscribe(heard.append)
        self.publish(2)
        self.assertEqual([event.number for event in heard], [1, 2])


class ResumeTests(EventsTestCase):
    """Going on where one stopped."""

    def test_known(self) -> None:
        """After an event of this run come those behind it, and after the last one none."""
        self.publish(3)
        connect = "connect"
        self.assertEqual(self.resumed("a-run-1"), [(2, connect), (3, connect)])
        self.assertEqual(self.resumed("a-run-0"), [(1, connect), (2, connect), (3, connect)])
        self.assertEqual(self.resumed("a-run-3"), [])
        self.assertEqual((self.events.last_id, self.events.published), ("a-run-3", 3))

    def test_nothing_happened(self) -> None:
        """Before the first event there is a position, too."""
        self.assertEqual(self.events.last_id, "a-run-0")
        self.assertEqual(self.resumed("a-run-0"), [])
        self.assertEqual(self.resumed("other-5"), [(0, GAP)])

    def test_gap(self) -> None:
        """After what is no event of this run: a gap, then all that is remembered."""
        self.publish(2)
        for event_id in ("b-run-1", "a-run-4", "a-run", "a-run-", "a-run--1", "1", "-", "", "x-y"):
            expected = [(0, GAP), (1, "connect"), (2, "connect")]
            self.assertEqual(self.resumed(event_id), expected, event_id)
        # Digits that are no ASCII, more of them than int() takes, and junk before or behind.
        for number in ("\u0661", "1" * 5000, "1\n", " 1"):
            self.assertEqual(self.resumed(f"a-run-{number}")[0], (0, GAP), number[:10])

    def test_forgotten(self) -> None:
        """An event whose successor is forgotten leaves a gap; one whose successor is not, none."""
        self.publish(HISTORY + 5)
        self.assertEqual(len(self.resumed("a-run-5")), HISTORY)
        self.assertEqual(self.resumed("a-run-5")[0], (6, "connect"))
        gap = self.resumed("a-run-4")
        self.assertEqual(gap[:2], [(5, GAP), (6, "connect")])
        self.assertEqual(len(gap), HISTORY + 1)

    def test_after_gap(self) -> None:
        """The id of a gap is one to resume from without another gap."""
        self.publish(HISTORY + 5)
        (gap, *rest) = self.events.resume("b-run-1")
        self.assertEqual((gap.kind, gap.at, gap.data), (GAP, START, {}))
        self.assertEqual(self.events.resume(self.events.id_of(gap)), rest)


class DescribeTests(EventsTestCase):
    """What readers outside get."""

    def test_members(self) -> None:
        """Id, time in UTC to the millisecond, kind, then the data."""
        event = Event(7, 1757567894.9, "connect", {"client_id": "c", "address": "192.0.2.1"})
        self.assertEqual(
            list(self.events.describe(event).items()),
            [
                ("id", "a-run-7"),
                ("time", "2025-09-11T05:18:14.900Z"),
                ("kind", "connect"),
                ("client_id", "c"),
                ("address", "192.0.2.1"),
            ],
        )

    def test_whole_second(self) -> None:
        """Milliseconds are there even if they are zero."""
        self.assertEqual(self.events.describe(Event(1, 0.0, "call", {}))["time"][-5:], ".000Z")

    def test_data_hides_nothing(self) -> None:
        """Data with members of the same name does not change what identifies an event."""
        data = {"id": "x", "time": "y", "z": 1}
        described = self.events.describe(Event(1, 0.0, "call", data))
        self.assertEqual((described["id"], described["kind"]), ("a-run-1", "call"))
        self.assertEqual(described["time"], "1970-01-01T00:00:00.000Z")
        self.assertEqual(json.loads(messages.encode(described)), described)
