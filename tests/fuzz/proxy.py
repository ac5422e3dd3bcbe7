"""PROXY headers in any pieces, and the connection behind them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from tests.fuzz.harness import (
    Harness,
    Transport,
    no_failure_logged,
    one_line,
    spoiled,
    steps,
    streams,
)
from tests.wire.test_proxy import EXAMPLES, PORTS, V4, V6, v2
from xzgw.net.proxy import ProxyFactory, Refusals
from xzgw.wire.proxy import MAX_V1, MAX_V2, Header, ProxyError, parse

Outcome = tuple[Header | None, str | None]


def read(data: bytes) -> Outcome:
    """A header or the reason why there will be none; neither while it is incomplete."""
    try:
        return parse(data), None
    except ProxyError as error:
        return None, str(error)


def any_split(data: bytes) -> None:
    """However it comes, a header is read once it is whole; and what follows reaches the inside."""
    chunks = [chunk for _, chunk in steps(data)]
    whole = b"".join(chunks)
    verdict: Outcome = None, None
    for size in range(len(whole) + 1):
        now = read(whole[:size])
        assert verdict == (None, None) or now == verdict, (verdict, now, size)
        verdict = now
        assert verdict != (None, None) or size < max(MAX_V1, MAX_V2)
    header, why = verdict
    assert why is None or one_line(why)
    if header is not None:
        _check_header(header, whole)
    ends = [_run(pieces) for pieces in (chunks, [whole], [bytes((each,)) for each in whole])]
    assert ends[0] == ends[1] == ends[2]


def _check_header(header: Header, whole: bytes) -> None:
    assert 0 < header.size <= min(len(whole), MAX_V2)
    assert (header.source is None) == (header.destination is None)
    if header.source is None or header.destination is None:
        return
    (host, port), (to_host, to_port) = header.source, header.destination
    family = {False: b"TCP4", True: b"TCP6"}
    if (":" in host) == (":" in to_host):
        line = b"PROXY %s %s %s %d %d\r\n" % (
            *(family[":" in host], host.encode(), to_host.encode()),
            *(port, to_port),
        )
        assert parse(line) == Header(len(line), header.source, header.destination)


class Inside(Protocol):
    """Notes what reaches it, and from whom."""

    transport: Any

    def __init__(self) -> None:
        self.peer: object = None
        self.received = b""

    def connectionMade(self) -> None:
        self.peer = self.transport.getPeer()

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Behind(Factory):
    """Makes one protocol."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Inside] = []

    def buildProtocol(self, addr: object) -> Inside:
        self.made.append(Inside())
        return self.made[-1]


def _run(chunks: list[bytes]) -> tuple[object, ...]:
    clock, behind = Clock(), Behind()
    gone: list[None] = []
    factory = ProxyFactory(behind, clock, Refusals(clock), lambda: lambda: gone.append(None))
    protocol, transport = factory.buildProtocol(None), Transport()
    with no_failure_logged():
        protocol.makeConnection(transport)
        for chunk in chunks:
            if chunk and not transport.aborted:
                protocol.dataReceived(chunk)
        protocol.connectionLost()
    assert clock.getDelayedCalls() == []
    assert not factory.waiting
    assert len(gone) == 1
    # A header alone that names nobody is a health check: it makes no connection by itself.
    inside = [(str(each.peer), each.received) for each in behind.made]
    return inside, transport.aborted, factory.refusals.total


_headers = st.one_of(
    st.sampled_from([wire for wire, _ in EXAMPLES]),
    st.builds(
        v2,
        st.sampled_from([V4, V6 + PORTS, b"", V4 + b"\x04\x00\x01\x00"]) | st.binary(max_size=40),
        st.sampled_from([0x21, 0x20, 0x22, 0x11]) | st.integers(0, 255),
        st.sampled_from([0x11, 0x21, 0x00, 0x12, 0x31]) | st.integers(0, 255),
    ),
    st.builds(
        lambda words, end: b" ".join([b"PROXY", *words]) + end,
        st.lists(
            st.sampled_from(
                [
                    b"TCP4",
                    b"TCP6",
                    b"UNKNOWN",
                    b"1.2.3.4",
                    b"::1",
                    b"::ffff:1.2.3.4",
                    b"fe80::1%eth0",
                    *(
                        b"0",
                        b"65535",
                        b"65536",
                        b"01",
                        b"+1",
                        b"-1",
                        b"1_0",
                        b"",
                        b"\xd9\xa1",
                        b"0x1",
                    ),
                ]
            )
            | st.binary(max_size=5),
            max_size=7,
        ),
        st.sampled_from([b"\r\n", b"\n", b"\r", b"", b" \r\n"]),
    ),
)
_followed = st.builds(lambda header, rest: header + rest, _headers, st.binary(max_size=20))

HARNESSES = (Harness("proxy", any_split, streams(spoiled(_followed))),)
