"""The session machine: every state with every event, and the stories behind the table."""

from __future__ import annotations

from itertools import product
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.session import Session
from xzgw.core.session_types import (
    Answer,
    BackendEvent,
    BackendHello,
    BackendLost,
    BackendOpened,
    BackendSilent,
    BackendSlow,
    BackendText,
    CallEnded,
    CallEntered,
    CloseAudio,
    Command,
    DeviceEvent,
    DeviceGoodbye,
    DeviceHello,
    DeviceHelloRefused,
    DeviceLost,
    DeviceText,
    DeviceUdpTimeout,
    Dial,
    Dialing,
    Gone,
    Greet,
    HangUp,
    Hello,
    Idle,
    InCall,
    LeaveCall,
    Live,
    NoBackend,
    SessionEnded,
    State,
    ToBackend,
    ToDevice,
)

Event = DeviceEvent | BackendEvent

HELLO = Hello(b'{"type":"hello"}', 60)
OTHER = Hello(b'{"type":"hello","text_font":1}', 20)
PARAMS = {"sample_rate": 24000}
TEXT = b'{"type":"listen","n":1.0}'
SPEECH = b'{"type":"tts","n":1e2}'

# Session s1 on link 1 came and went before each state but "idle"; s2 is on link 2.
_S1: list[Event] = [
    DeviceHello(HELLO),
    BackendOpened(1),
    BackendHello(1, "s1", None),
    DeviceGoodbye("s1"),
]
_DIALING: list[Event] = [*_S1, DeviceHello(HELLO)]
_GREETED: list[Event] = [*_DIALING, BackendOpened(2)]
_LIVE: list[Event] = [*_GREETED, BackendHello(2, "s2", PARAMS)]

STATES: dict[str, tuple[State, list[Event]]] = {
    "idle": (Idle(), []),
    "ended": (Idle("s1"), _S1),
    "dialing": (Dialing(2, HELLO, greeted=False, ended="s1"), _DIALING),
    "greeted": (Dialing(2, HELLO, greeted=True, ended="s1"), _GREETED),
    "live": (Live(2, "s2", "s1"), _LIVE),
    "in call": (InCall("s2", "s1"), [*_LIVE, CallEntered()]),
    "gone": (Gone(), [*_LIVE, DeviceLost()]),
}

EVENTS: dict[str, Event] = {
    "hello": DeviceHello(HELLO),
    "other hello": DeviceHello(OTHER),
    "bad hello": DeviceHelloRefused("version"),
    "unserved hello": DeviceHelloRefused("full", ends=True),
    "text": DeviceText(TEXT, "listen", "s9"),
    "text, no id": DeviceText(TEXT, "listen", None),
    "mcp": DeviceText(TEXT, "mcp", "s9"),
    "mcp, empty id": DeviceText(TEXT, "mcp", ""),
    "mcp, no id": DeviceText(TEXT, "mcp", None),
    "goodbye s2": DeviceGoodbye("s2"),
    "goodbye s1": DeviceGoodbye("s1"),
    "goodbye s9": DeviceGoodbye("s9"),
    "goodbye, empty id": DeviceGoodbye(""),
    "goodbye, no id": DeviceGoodbye(None),
    "udp_timeout": DeviceUdpTimeout(),
    "device lost": DeviceLost(),
    "call entered": CallEntered(),
    "call ended": CallEnded("unanswered"),
    "stop": SessionEnded("stopping"),
    "opened": BackendOpened(2),
    "server hello": BackendHello(2, "s2", PARAMS),
    "server text": BackendText(2, SPEECH),
    "server lost": BackendLost(2, "closed"),
    "server silent": BackendSilent(2),
    "server slow": BackendSlow(2),
    "no server": NoBackend(2, "none"),
}

Row = tuple[list[Command], State]

GOODBYE_S9: list[Command] = [ToDevice(b'{"session_id":"s9","type":"goodbye"}')]
GOODBYE_S2 = ToDevice(b'{"session_id":"s2","type":"goodbye"}')
GOODBYE: list[Command] = [ToDevice(b'{"type":"goodbye"}')]
BAD_HELLO: list[Command] = [ToDevice(b'{"type":"error","message":"version"}')]
FULL = ToDevice(b'{"type":"error","message":"full"}')

SAID_GOODBYE = "device said goodbye"
DISCONNECTED = "device disconnected"
TIMED_OUT = "device reported a UDP time-out"
REPLACED = "replaced by a new hello"


def given_up(code: int, reason: str) -> list[Command]:
    """The dial ends."""
    return [HangUp(2, code, reason)]


def closed(code: int, reason: str) -> list[Command]:
    """The session ends."""
    return [CloseAudio(reason), HangUp(2, code, reason)]


def left(reason: str) -> list[Command]:
    """The device leaves its call."""
    return [CloseAudio(reason), LeaveCall(reason)]


def stays(name: str, events: str) -> dict[str, Row]:
    """Rows for events, separated by "; ", that nothing comes of."""
    return {event: ([], STATES[name][0]) for event in events.split("; ")}


def while_idle(name: str, link: int) -> dict[str, Row]:
    """The rows of Idle, whose next dial has this number."""
    idle = STATES[name][0]
    assert isinstance(idle, Idle)
    return {
        "hello": ([Dial(link, True)], Dialing(link, HELLO, ended=idle.ended)),
        "other hello": ([Dial(link, True)], Dialing(link, OTHER, ended=idle.ended)),
        "bad hello": (BAD_HELLO, idle),
        "text": (GOODBYE_S9, idle),
        "text, no id": (GOODBYE, idle),
        "mcp": (GOODBYE_S9, idle),
        "unserved hello": ([FULL], idle),
        "device lost": ([LeaveCall(DISCONNECTED)], Gone()),
        **stays(name, "mcp, empty id; mcp, no id; udp_timeout; stop"),
        **stays(name, "goodbye s1; goodbye s2; goodbye s9; goodbye, empty id; goodbye, no id"),
        **stays(name, "opened; server hello; server text; server lost"),
        **stays(name, "server silent; server slow; no server; call entered; call ended"),
    }


def while_dialing(name: str) -> dict[str, Row]:
    """The rows that Dialing has in common before and after the greeting."""
    dialing = STATES[name][0]
    next_dial = Dialing(3, HELLO, ended="s1")
    ends: Row = ([*given_up(1000, SAID_GOODBYE), LeaveCall(SAID_GOODBYE)], Idle("s1"))
    return {
        "bad hello": (BAD_HELLO, dialing),
        "unserved hello": ([*given_up(1000, "full"), FULL], Idle("s1")),
        "goodbye s2": ends,
        "goodbye s9": ends,
        "goodbye, empty id": ends,
        "goodbye, no id": ends,
        "device lost": ([*given_up(1000, DISCONNECTED), LeaveCall(DISCONNECTED)], Gone()),
        "stop": (
            [*given_up(1001, "stopping"), ToDevice(b'{"type":"error","message":"stopping"}')],
            Idle("s1"),
        ),
        "opened": ([Greet(2, HELLO.text)], Dialing(2, HELLO, greeted=True, ended="s1")),
        "server hello": ([Answer(2, "s2", PARAMS, 60)], Live(2, "s2", "s1")),
        "server text": ([ToDevice(SPEECH)], dialing),
        "server lost": ([Dial(3, False)], next_dial),
        "server silent": ([*given_up(1000, "no hello in time"), Dial(3, False)], next_dial),
        "no server": ([ToDevice(b'{"type":"error","message":"none"}')], Idle("s1")),
        **stays(name, "hello; text; text, no id; mcp; mcp, empty id; mcp, no id"),
        **stays(name, "goodbye s1; udp_timeout; call entered; call ended"),
    }


def while_live() -> dict[str, Row]:
    """The rows of Live."""
    live = STATES["live"][0]
    passed_on: Row = ([ToBackend(2, TEXT)], live)
    ends: Row = ([*closed(1000, SAID_GOODBYE), LeaveCall(SAID_GOODBYE)], Idle("s2"))
    again: list[Command] = [*closed(1000, REPLACED), Dial(3, True)]
    return {
        "hello": (again, Dialing(3, HELLO, ended="s2")),
        "other hello": (again, Dialing(3, OTHER, ended="s2")),
        "bad hello": (BAD_HELLO, live),
        "unserved hello": ([*closed(1000, "full"), FULL], Idle("s2")),
        "text": passed_on,
        "text, no id": passed_on,
        "mcp": passed_on,
        "mcp, empty id": passed_on,
        "mcp, no id": passed_on,
        "goodbye s2": ends,
        "goodbye s9": ends,
        "goodbye, empty id": ends,
        "goodbye, no id": ends,
        "udp_timeout": (closed(1000, TIMED_OUT), Idle("s2")),
        "device lost": ([*closed(1000, DISCONNECTED), LeaveCall(DISCONNECTED)], Gone()),
        "stop": ([*closed(1001, "stopping"), GOODBYE_S2], Idle("s2")),
        "call entered": ([HangUp(2, 1000, "device is in a call")], InCall("s2", "s1")),
        "server text": ([ToDevice(SPEECH)], live),
        "server lost": ([CloseAudio("closed"), GOODBYE_S2], Idle("s2")),
        **stays("live", "goodbye s1; opened; server hello; server silent; server slow; no server"),
        **stays("live", "call ended"),
    }


def while_in_call() -> dict[str, Row]:
    """The rows of InCall, where there is no server."""
    ends: Row = (left(SAID_GOODBYE), Idle("s2"))
    again: list[Command] = [*left(REPLACED), Dial(3, True)]
    return {
        "hello": (again, Dialing(3, HELLO, ended="s2")),
        "other hello": (again, Dialing(3, OTHER, ended="s2")),
        "bad hello": (BAD_HELLO, STATES["in call"][0]),
        "unserved hello": ([*left("full"), FULL], Idle("s2")),
        "goodbye s2": ends,
        "goodbye s9": ends,
        "goodbye, empty id": ends,
        "goodbye, no id": ends,
        "udp_timeout": (left(TIMED_OUT), Idle("s2")),
        "device lost": (left(DISCONNECTED), Gone()),
        "call ended": ([CloseAudio("unanswered"), GOODBYE_S2], Idle("s2")),
        "stop": ([*left("stopping"), GOODBYE_S2], Idle("s2")),
        **stays("in call", "text; text, no id; mcp; mcp, empty id; mcp, no id; goodbye s1"),
        **stays("in call", "call entered; opened; server hello; server text; server lost"),
        **stays("in call", "server silent; server slow; no server"),
    }


TABLE: dict[str, dict[str, Row]] = {
    "idle": while_idle("idle", 1),
    "ended": while_idle("ended", 2),
    "dialing": {
        **while_dialing("dialing"),
        "other hello": ([], Dialing(2, OTHER, ended="s1")),
        **stays("dialing", "server slow"),  # it has no hello yet
    },
    "greeted": {
        **while_dialing("greeted"),
        "other hello": (
            [*given_up(1000, REPLACED), Dial(3, True)],
            Dialing(3, OTHER, ended="s1"),
        ),
        "server slow": ([ToBackend(2, HELLO.text)], STATES["greeted"][0]),
    },
    "live": while_live(),
    "in call": while_in_call(),
    "gone": stays("gone", "; ".join(EVENTS)),
}


def play(session: Session, *events: Event) -> list[Command]:
    """All that is commanded upon these events."""
    return [command for event in events for command in session.receive(event)]


def session_in(name: str) -> Session:
    """A session with the history of that state."""
    session = Session()
    play(session, *STATES[name][1])
    return session


def on_link(link: int) -> list[Event]:
    """Everything that can be told of one dial."""
    return [
        BackendOpened(link),
        BackendHello(link, "s8", PARAMS),
        BackendText(link, SPEECH),
        BackendLost(link, "closed"),
        BackendSilent(link),
        BackendSlow(link),
        NoBackend(link, "none"),
    ]


class TableTests(SynchronousTestCase):
    """Every state with every event."""

    def test_states_and_events_are_all_there_are(self) -> None:
        """The table knows each kind of state and of event."""
        self.assertEqual({type(state) for state, _ in STATES.values()}, set(get_args(State)))
        kinds = {*get_args(DeviceEvent), *get_args(BackendEvent)}
        self.assertEqual({type(event) for event in EVENTS.values()}, kinds)
        self.assertEqual({type(event) for event in on_link(1)}, set(get_args(BackendEvent)))

    def test_histories(self) -> None:
        """Each state is one that a session really comes to."""
        for name, (state, _) in STATES.items():
            self.assertEqual(session_in(name).state, state, name)

    def test_every_pair(self) -> None:
        """Each pair has one row: these commands, then that state."""
        for name, event in product(STATES, EVENTS):
            commands, state = TABLE[name][event]
            session = session_in(name)
            self.assertEqual(session.receive(EVENTS[event]), commands, (name, event))
            self.assertEqual(session.state, state, (name, event))

    def test_no_row_without_pair(self) -> None:
        """The table has no row that is never looked at."""
        rows = {(name, event) for name, row in TABLE.items() for event in row}
        self.assertEqual(rows, set(product(STATES, EVENTS)))

    def test_other_links(self) -> None:
        """News of another dial than the present one changes nothing, in every state."""
        for name, link in product(STATES, (0, 1, 3)):
            for event in on_link(link):
                session = session_in(name)
                self.assertEqual(session.receive(event), [], (name, event))
                self.assertEqual(session.state, STATES[name][0], (name, event))

    def test_gone_stays_gone(self) -> None:
        """After the device is lost nothing whatever is done."""
        session = session_in("gone")
        self.assertEqual(play(session, *EVENTS.values(), *EVENTS.values()), [])
        self.assertEqual(session.state, Gone())


class StoryTests(SynchronousTestCase):
    """What the rules are for."""

    def test_conversation(self) -> None:
        """hello, greeting, answer, texts both ways, goodbye."""
        commands = play(
            Session(),
            DeviceHello(HELLO),
            BackendOpened(1),
            BackendHello(1, "s1", PARAMS),
            DeviceText(TEXT, "listen", "s1"),
            BackendText(1, SPEECH),
            DeviceGoodbye("s1"),
        )
        self.assertEqual(
            commands,
            [
                Dial(1, True),
                Greet(1, HELLO.text),
                Answer(1, "s1", PARAMS, 60),
                ToBackend(1, TEXT),
                ToDevice(SPEECH),
                CloseAudio(SAID_GOODBYE),
                HangUp(1, 1000, SAID_GOODBYE),
                LeaveCall(SAID_GOODBYE),
            ],
        )

    def test_goodbye_and_hello_in_one_segment(self) -> None:
        """The end of the old connection, told late, does not touch the new session."""
        session = session_in("live")
        commands = play(
            session,
            DeviceGoodbye("s2"),
            DeviceHello(HELLO),
            BackendText(2, SPEECH),
            BackendLost(2, "closed"),
            BackendOpened(3),
            BackendLost(2, "closed"),
            BackendHello(3, "s3", PARAMS),
            BackendLost(2, "closed"),
        )
        self.assertEqual(
            commands,
            [
                *closed(1000, SAID_GOODBYE),
                LeaveCall(SAID_GOODBYE),
                Dial(3, True),
                Greet(3, HELLO.text),
                Answer(3, "s3", PARAMS, 60),
            ],
        )
        self.assertEqual(session.state, Live(3, "s3", "s2"))

    def test_burst_of_hellos(self) -> None:
        """However many hellos come while a server is reached: one dial, the newest is said."""
        burst = [Hello(b"%d" % number, 60) for number in range(20)]
        commands = play(Session(), *map(DeviceHello, burst), BackendOpened(1))
        self.assertEqual(commands, [Dial(1, True), Greet(1, b"19")])

    def test_same_hello_again(self) -> None:
        """A device that repeats itself while the server thinks gets one session."""
        session = Session()
        hello = DeviceHello(HELLO)
        commands = play(session, hello, hello, BackendOpened(1), hello, hello)
        self.assertEqual(commands, [Dial(1, True), Greet(1, HELLO.text)])
        self.assertEqual(play(session, BackendHello(1, "s1", None)), [Answer(1, "s1", None, 60)])

    def test_other_hello_after_the_greeting(self) -> None:
        """A server is greeted once with one hello; a different one needs a connection anew."""
        session = session_in("greeted")
        commands = play(session, DeviceHello(OTHER), BackendHello(2, "s2", PARAMS))
        self.assertEqual(commands, [*given_up(1000, REPLACED), Dial(3, True)])
        opened = play(session, BackendOpened(3), BackendHello(3, "s3", None))
        self.assertEqual(opened, [Greet(3, OTHER.text), Answer(3, "s3", None, 20)])

    def test_late_goodbye(self) -> None:
        """A goodbye for the session before is old news, before the answer and after it."""
        session = session_in("dialing")
        late = DeviceGoodbye("s1")
        commands = play(session, late, BackendOpened(2), late, BackendHello(2, "s2", None), late)
        self.assertEqual(commands, [Greet(2, HELLO.text), Answer(2, "s2", None, 60)])
        self.assertEqual(session.state, Live(2, "s2", "s1"))

    def test_server_that_repeats_ids(self) -> None:
        """If a server names two sessions alike, a goodbye is for the one that is open."""
        session = session_in("greeted")
        play(session, BackendHello(2, "s1", None))
        ended = play(session, DeviceGoodbye("s1"))
        self.assertEqual(ended, [*closed(1000, SAID_GOODBYE), LeaveCall(SAID_GOODBYE)])

    def test_server_speaks_before_its_hello(self) -> None:
        """Texts that come before the server's hello reach the device, in order."""
        commands = play(
            session_in("greeted"), BackendText(2, SPEECH), BackendHello(2, "s2", PARAMS)
        )
        self.assertEqual(commands, [ToDevice(SPEECH), Answer(2, "s2", PARAMS, 60)])

    def test_hello_said_twice_answered_twice(self) -> None:
        """A server that was only slow answers both; the device gets one answer."""
        commands = play(
            session_in("greeted"),
            BackendSlow(2),
            BackendHello(2, "s2", PARAMS),
            BackendHello(2, "s2", PARAMS),
            BackendSlow(2),
        )
        self.assertEqual(commands, [ToBackend(2, HELLO.text), Answer(2, "s2", PARAMS, 60)])

    def test_udp_timeout(self) -> None:
        """The session ends without a goodbye, and the late end of its connection adds none."""
        commands = play(session_in("live"), DeviceUdpTimeout(), BackendLost(2, "closed"))
        self.assertEqual(commands, closed(1000, TIMED_OUT))

    def test_refused_version_keeps_session(self) -> None:
        """A hello that cannot be served is answered; the open session goes on."""
        session = session_in("live")
        commands = play(session, DeviceHelloRefused("version"), DeviceText(TEXT, "listen", "s2"))
        self.assertEqual(commands, [*BAD_HELLO, ToBackend(2, TEXT)])

    def test_text_after_the_server_closed(self) -> None:
        """A device that believes its channel open is told again, by the id it believes in."""
        commands = play(
            session_in("live"),
            BackendLost(2, "closed"),
            DeviceText(TEXT, "listen", "s2"),
            DeviceText(TEXT, "mcp", "s2"),
            DeviceText(TEXT, "mcp", ""),
        )
        self.assertEqual(commands, [CloseAudio("closed"), GOODBYE_S2, GOODBYE_S2, GOODBYE_S2])

    def test_failover(self) -> None:
        """One server refuses, one is silent, the third answers: the device sees only that."""
        commands = play(
            Session(),
            DeviceHello(HELLO),
            BackendLost(1, "refused"),
            BackendOpened(2),
            BackendSilent(2),
            BackendLost(2, "closed"),
            BackendOpened(3),
            BackendHello(3, "s3", None),
        )
        self.assertEqual(
            commands,
            [
                Dial(1, True),
                Dial(2, False),
                Greet(2, HELLO.text),
                HangUp(2, 1000, "no hello in time"),
                Dial(3, False),
                Greet(3, HELLO.text),
                Answer(3, "s3", None, 60),
            ],
        )

    def test_hello_after_no_server(self) -> None:
        """After the device was told that no server answers, its next hello starts all anew."""
        session = session_in("dialing")
        play(session, NoBackend(2, "none"))
        self.assertEqual(play(session, DeviceHello(HELLO)), [Dial(3, True)])
