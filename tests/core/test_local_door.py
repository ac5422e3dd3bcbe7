"""The one door to the devices, onto a gateway of this process."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.core.phones import Phone, PhonesTestCase, connect_of, goodbye, signed
from xzgw.core.device_view import view
from xzgw.core.door import (
    BackendState,
    BackendView,
    CallStatus,
    Conflict,
    Door,
    Filter,
    NoSuchBackend,
    NotConnected,
    Page,
    Presence,
)
from xzgw.core.local_door import LocalDoor
from xzgw.core.mcp import McpClosed, McpError, McpTimeout
from xzgw.wire.messages import Json

ANN, BOB, CID = (connect_of(number).client_id for number in range(3))
NOBODY = "GID_test@@@66_55_44_33_22_11@@@nobody"
ANY = Filter()


def client_id(number: int) -> str:
    """One of many devices: some in each of ten groups, and of two makers."""
    maker = "aa_bb" if number % 2 else "CC_DD"
    low = f"{number >> 8:02x}_{number & 255:02x}"
    return f"group-{number % 10}@@@{maker}_00_00_{low}@@@u-{number}"


def flat(pages: list[list[str]]) -> list[str]:
    """What is on all pages, in order."""
    return list(chain.from_iterable(pages))


class DoorTestCase(PhonesTestCase):
    """The door of a gateway; as Door, so that types tell when it is none any more."""

    def setUp(self) -> None:
        super().setUp()
        self.door: Door = self.board.door

    def page(self, which: Filter = ANY, after: str = "", limit: int = 100) -> Page:
        return self.successResultOf(self.door.list(which, after, limit))

    def ids(self, which: Filter = ANY, after: str = "", limit: int = 100) -> list[str]:
        """The client ids of one page."""
        return [device.client_id for device in self.page(which, after, limit).devices]


class NotConnectedTests(DoorTestCase):
    """A device that is not there."""

    def test_all_methods(self) -> None:
        """Every method that names a device fails alike, and at once."""
        self.phone(0, "s-ann")
        answers: tuple[Deferred[Any], ...] = (
            self.door.find(NOBODY),
            self.door.command(NOBODY, "tools/list", None, 5.0),
            self.door.tools(NOBODY),
            self.door.push(NOBODY, {"type": "alert"}),
            self.door.end_session(NOBODY),
            self.door.disconnect(NOBODY),
        )
        for answer in answers:
            failure = self.failureResultOf(answer, NotConnected)
            self.assertEqual(failure.getErrorMessage(), "device is not connected")

    def test_once_connected(self) -> None:
        """A device that has left is not there any more."""
        ann = self.phone(0, "s-ann")
        self.board.gateway.leave(ann.device, "lost")
        self.failureResultOf(self.door.find(ANN), NotConnected)
        self.assertEqual(self.ids(), [])


class LookTests(DoorTestCase):
    """find, presence and tools."""

    def test_find(self) -> None:
        """Everything known of the device."""
        ann = self.phone(0, "s-ann")
        self.phone(1)
        told = self.successResultOf(self.door.find(ANN))
        self.assertEqual(told, view(ann.device, self.board.around.services))
        self.assertEqual((told.client_id, told.presence), (ANN, "live"))

    def test_presence(self) -> None:
        """Of those asked for that are connected; the others are left out."""
        self.phone(0, "s-ann")
        self.phone(1).says({"type": "hello", "version": 3})
        self.phone(2)
        found = self.successResultOf(self.door.presence([ANN, NOBODY, BOB, CID, ANN]))
        self.assertEqual(found, {ANN: Presence.LIVE, BOB: Presence.DIALING, CID: Presence.IDLE})
        self.assertEqual(self.successResultOf(self.door.presence([NOBODY])), {})

    def test_presence_in_a_call(self) -> None:
        """A device in a call is told as such."""
        ann, bob = self.phone(0, "s-ann"), self.phone(1, "s-bob")
        self.successResultOf(self.door.request_call(ann.mac, bob.mac, ""))
        found = self.successResultOf(self.door.presence([ANN, BOB]))
        self.assertEqual(found, {ANN: Presence.IN_CALL, BOB: Presence.LIVE})

    def test_tools(self) -> None:
        """What discovery has found so far, and how far it came."""
        ann = self.phone(0)
        told = self.successResultOf(self.door.tools(ANN))
        unasked = "device was not asked for its tools yet"
        self.assertEqual(told, {"tools": [], "complete": False, "status": unasked})
        ann.device.start()
        [initialize] = ann.texts()
        ann.replies(initialize, result={})
        _, tools_list = ann.texts()
        tool: Json = {"name": "self.reboot", "inputSchema": {"type": "object"}}
        ann.replies(tools_list, result={"tools": [tool]})
        told = self.successResultOf(self.door.tools(ANN))
        self.assertEqual(told, {"tools": [tool], "complete": True, "status": "device has 1 tools"})


class CommandTests(DoorTestCase):
    """One MCP request to a device."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.phone(0, "s-ann")

    def command(self, method: str = "tools/call", params: Json | None = None) -> Deferred[Any]:
        return self.door.command(ANN, method, params, 5.0)

    def assertForgotten(self, late: Json) -> None:
        """No timer is left, and a late reply is not passed on to the server."""
        self.assertEqual(self.board.clock.getDelayedCalls(), [])
        before = list(self.ann.server.texts)
        self.ann.replies(late, result="late")
        self.assertEqual(self.ann.server.texts, before)

    def test_result(self) -> None:
        """The request goes out as told, and its result comes back as it is."""
        for params in (None, {}, {"name": "self.get_device_status", "arguments": {"a": [1]}}):
            answer = self.command("tools/call", params)
            [request] = self.ann.texts()
            self.assertEqual(request["payload"]["method"], "tools/call")
            self.assertEqual(request["payload"].get("params"), params)
            self.assertNoResult(answer)
            self.ann.replies(request, result={"content": [{"text": "你好"}]})
            self.assertEqual(self.successResultOf(answer), {"content": [{"text": "你好"}]})

    def test_error(self) -> None:
        """The device's own words."""
        answer = self.command()
        [request] = self.ann.texts()
        self.ann.replies(request, error={"message": "Unknown tool: x"})
        self.assertEqual(
            self.failureResultOf(answer, McpError).getErrorMessage(), "Unknown tool: x"
        )

    def test_time(self) -> None:
        """No longer than the caller has time."""
        answer = self.command()
        self.board.pass_time(4.9)
        self.assertNoResult(answer)
        self.board.pass_time(0.2)
        self.failureResultOf(answer, McpTimeout)
        [request] = self.ann.texts()
        self.assertForgotten(request)

    def test_cancelled(self) -> None:
        """A caller that goes away takes its request with it, and nobody else's."""
        answer, other = self.command(), self.command()
        request, other_request = self.ann.texts()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.ann.replies(other_request, result=1)
        self.assertEqual(self.successResultOf(other), 1)
        self.assertForgotten(request)

    def test_many(self) -> None:
        """Two hundred at once, answered in another order, each get their own result."""
        answers = [self.command(params={"number": number}) for number in range(200)]
        for request in reversed(self.ann.texts()):
            self.ann.replies(request, result=request["payload"]["params"]["number"])
        self.assertEqual([self.successResultOf(answer) for answer in answers], list(range(200)))

    def test_lost(self) -> None:
        """A device that disconnects fails what it owes at once."""
        answers = [self.command() for _ in range(3)]
        self.board.gateway.leave(self.ann.device, "lost")
        for answer in answers:
            self.failureResultOf(answer, McpClosed)
        self.assertEqual(self.board.clock.getDelayedCalls(), [])

    def test_taken_over(self) -> None:
        """So does one whose new connection takes over; the next command goes to that one."""
        answer = self.command()
        self.ann.texts()
        back = self.phone(0)
        self.failureResultOf(answer, McpClosed)
        answer = self.command()
        [request] = back.texts()
        self.assertEqual(self.ann.texts(), [])
        back.replies(request, result="new")
        self.assertEqual(self.successResultOf(answer), "new")


class ActTests(DoorTestCase):
    """push, end_session and disconnect."""

    def test_push(self) -> None:
        """The message as it is, to this device only, session or not."""
        ann, bob = self.phone(0), self.phone(1)
        message = {"type": "alert", "status": "提醒", "odd": [None, 1e300, {"a": True}]}
        self.assertIsNone(self.successResultOf(self.door.push(ANN, message)))
        self.assertEqual((ann.texts(), bob.texts()), ([message], []))

    def test_end_session(self) -> None:
        """A goodbye with its id to the device, 1001 to the server; the connection stays."""
        ann = self.phone(0, "s-ann")
        self.assertIsNone(self.successResultOf(self.door.end_session(ANN)))
        self.assertEqual(ann.texts(), [goodbye("s-ann")])
        self.assertEqual(ann.server.closed, [(1001, "ended by the operator")])
        self.assertEqual((ann.device.presence, ann.link.closed), ("idle", []))

    def test_end_session_while_dialing(self) -> None:
        """The device is told that nothing will come of its hello."""
        ann = self.phone(0)
        ann.says({"type": "hello", "version": 3})
        self.assertIsNone(self.successResultOf(self.door.end_session(ANN)))
        self.assertEqual(ann.texts(), [{"type": "error", "message": "ended by the operator"}])
        self.assertEqual(self.board.clock.getDelayedCalls(), [])

    def test_end_no_session(self) -> None:
        """None open is a conflict, and nothing is sent."""
        ann = self.phone(0)
        failure = self.failureResultOf(self.door.end_session(ANN), Conflict)
        self.assertEqual(failure.getErrorMessage(), "no session is open")
        self.assertEqual(ann.texts(), [])

    def test_disconnect(self) -> None:
        """Its session ends with a goodbye, then its connection is closed, with the reason."""
        ann = self.phone(0, "s-ann")
        self.assertIsNone(self.successResultOf(self.door.disconnect(ANN)))
        self.assertEqual(ann.texts(), [goodbye("s-ann")])
        self.assertEqual(ann.link.closed, ["disconnected by the operator"])

    def test_disconnect_without_session(self) -> None:
        """No goodbye then."""
        ann = self.phone(0)
        self.assertIsNone(self.successResultOf(self.door.disconnect(ANN)))
        self.assertEqual((ann.texts(), ann.link.closed), ([], ["disconnected by the operator"]))


class CallTests(DoorTestCase):
    """Calls; more of them in test_calls."""

    def test_call(self) -> None:
        """Request and accept, with the result of each."""
        ann, bob = self.phone(0, "s-ann"), self.phone(1, "s-bob")
        result = self.successResultOf(self.door.request_call(ann.mac, bob.mac, "小明"))
        self.assertEqual(result.status, CallStatus.PENDING)
        self.assertIn("小明", str(bob.wakes_up()))
        result = self.successResultOf(self.door.accept_call(bob.mac))
        self.assertEqual(result.status, CallStatus.BRIDGED)
        self.assertEqual(ann.texts(), [{"type": "call_accepted", "from": bob.mac}])

    def test_statuses(self) -> None:
        """As the contract spells them."""
        self.assertEqual(
            {status.value for status in CallStatus},
            {"pending", "bridged", "offline", "no_pending", "caller_gone", "error"},
        )


class ListTests(DoorTestCase):
    """Pages of a thousand devices, connected in no order."""

    def setUp(self) -> None:
        super().setUp()
        # 7 and 1,000 have no common divisor: each number once, in another order.
        self.all = {client_id(n): Phone(self.board, signed(client_id(n))) for n in self.shuffled()}

    def shuffled(self) -> list[int]:
        return [7 * number % 1000 for number in range(1000)]

    def walk(self, which: Filter, limit: int) -> list[list[str]]:
        """The client ids of all pages; each page tells the whole number."""
        pages: list[list[str]] = []
        after: str | None = ""
        while after is not None:
            page = self.page(which, after, limit)
            ids = [device.client_id for device in page.devices]
            self.assertIn(page.next_after, (None, ids[-1] if ids else None))
            pages.append(ids)
            after = page.next_after
            self.assertLessEqual(len(pages), 1000)
        totals = {self.page(which, ids[-1] if ids else "", limit).total for ids in pages}
        self.assertEqual(totals, {sum(map(len, pages))})
        return pages

    def test_order(self) -> None:
        """All of them, each once, in the order of their client ids."""
        for limit, last in ((100, 100), (300, 100), (999, 1), (1000, 1000), (5000, 1000)):
            pages = self.walk(ANY, limit)
            self.assertEqual(flat(pages), sorted(self.all))
            self.assertEqual({len(page) for page in pages[:-1]} - {limit}, set())
            self.assertEqual(len(pages[-1]), last)

    def test_groups(self) -> None:
        """Only those of one group, and the total is theirs."""
        wanted = sorted(each for each in self.all if each.startswith("group-3@@@"))
        self.assertEqual(flat(self.walk(Filter(group="group-3"), 30)), wanted)
        self.assertEqual(len(wanted), 100)
        for group in ("group-33", "group", "GROUP-3", ""):
            self.assertEqual(self.walk(Filter(group=group), 30), [[]])

    def test_mac_prefix(self) -> None:
        """MACs in any case by a prefix in lower case."""
        wanted = sorted(each for each in self.all if "CC_DD" in each)
        self.assertEqual(flat(self.walk(Filter(mac_prefix="cc:d"), 300)), wanted)
        one = Filter(mac_prefix="cc:dd:00:00:01:02")
        self.assertEqual(self.walk(one, 10), [[client_id(0x102)]])
        self.assertEqual(self.walk(Filter(mac_prefix="dd:"), 10), [[]])

    def test_presence(self) -> None:
        """Only those in one state."""
        for number in (5, 700):
            self.all[client_id(number)].hello(f"s-{number}")
        live = Filter(presence=Presence.LIVE)
        self.assertEqual(flat(self.walk(live, 1)), sorted([client_id(5), client_id(700)]))
        self.assertEqual(self.page(Filter(presence=Presence.IDLE), "", 1).total, 998)
        self.assertEqual(self.page(Filter(presence=Presence.IN_CALL), "", 1).total, 0)

    def test_all_filters(self) -> None:
        """Each of them must let a device pass."""
        self.all[client_id(5)].hello("s-5")
        self.all[client_id(15)].hello("s-15")
        five = "aa:bb:00:00:00:05"
        self.assertEqual(self.ids(Filter("group-5", Presence.LIVE, five)), [client_id(5)])
        for other in (
            Filter("group-6", Presence.LIVE, five),
            Filter("group-5", Presence.IDLE, five),
            Filter("group-5", Presence.LIVE, "aa:bb:00:00:00:06"),
        ):
            self.assertEqual(self.ids(other), [])

    def test_changes_between_pages(self) -> None:
        """Devices that come and go, even the last one seen, shift nothing."""
        first = self.page(ANY, "", 100)
        seen = [device.client_id for device in first.devices]
        for each in (seen[3], seen[-1]):
            self.board.gateway.leave(self.all.pop(each).device, "lost")
        early, late = "a-group@@@aa_bb_00_00_00_00@@@u", "z-group@@@aa_bb_00_00_00_00@@@u"
        for each in (early, late):
            self.all[each] = Phone(self.board, signed(each))
        assert first.next_after is not None
        rest = self.page(ANY, first.next_after, 2000)
        found = [device.client_id for device in rest.devices]
        self.assertEqual(found, sorted(set(self.all) - set(seen) - {early}))
        self.assertEqual((found[-1], rest.total), (late, 1000))

    def test_beyond(self) -> None:
        """Behind the last device there is an empty page, which still tells the total."""
        page = self.page(ANY, "zzz", 10)
        self.assertEqual((page.devices, page.next_after, page.total), ((), None, 1000))

    def test_views(self) -> None:
        """A listed device is told of as a found one."""
        [listed] = self.page(ANY, "", 1).devices
        self.assertEqual(listed, self.successResultOf(self.door.find(listed.client_id)))


class BackendTests(DoorTestCase):
    """Chat servers."""

    def view(self) -> BackendView:
        """The only server."""
        [found] = self.successResultOf(self.door.backends())
        return found

    def test_view(self) -> None:
        """Load and health as they are."""
        before = self.view()
        self.assertEqual((before.groups, before.weight), (("production",), 1))
        self.assertEqual((before.sessions, before.state), (0, BackendState.UP))
        self.phone(0, "s-ann")
        self.assertEqual(self.view().sessions, 1)

    def test_failing(self) -> None:
        """After a failure: why, and when in unix time it is tried again; that passes."""
        services = self.board.gateway.services
        [server] = services.backends.listed()
        services.backends.failed(server, "refused")
        shown = self.view()
        self.assertEqual((shown.state, shown.failures), (BackendState.FAILING, 1))
        self.assertEqual((shown.last_error, shown.next_try), ("refused", services.now() + 1))
        self.board.pass_time(1)
        self.assertEqual((self.view().state, self.view().next_try), (BackendState.FAILING, None))

    def test_secret(self) -> None:
        """What is secret in an address is not shown, and need not be known."""
        config = self.board.gateway.services.config
        url = "ws://a.example/?token=hush&from=mqtt_gateway"
        self.board.gateway.configure(replace(config, production_servers=(url,)))
        shown = "ws://a.example/?token=***&from=mqtt_gateway"
        self.assertEqual(self.view().url, shown)
        self.successResultOf(self.door.drain_backend(shown, True))
        self.assertIs(self.view().state, BackendState.DRAINING)
        self.successResultOf(self.door.drain_backend(url, False))
        self.assertIs(self.view().state, BackendState.UP)
        phone = self.phone(0, "s-ann")
        view = self.successResultOf(self.door.find(phone.client_id))
        assert view.session is not None
        self.assertEqual(view.session["server"], shown)
        events = str([event.data for event in self.board.around.events.since(0)])
        self.assertNotIn("hush", events)

    def test_drain(self) -> None:
        """Draining shows whatever else is the matter, and ends with resuming."""
        url = self.view().url
        self.successResultOf(self.door.drain_backend(url, True))
        self.assertIs(self.view().state, BackendState.DRAINING)
        self.successResultOf(self.door.drain_backend(url, False))
        self.assertIs(self.view().state, BackendState.UP)
        self.failureResultOf(self.door.drain_backend(url + "x", True), NoSuchBackend)


class KindTests(PhonesTestCase):
    """What it is."""

    def test_local(self) -> None:
        """A LocalDoor on the gateway's own devices: it sees each the moment it is let in."""
        door = LocalDoor(self.board.gateway)
        self.assertEqual(self.successResultOf(door.presence([ANN])), {})
        self.phone(0)
        self.assertEqual(self.successResultOf(door.presence([ANN])), {ANN: Presence.IDLE})
