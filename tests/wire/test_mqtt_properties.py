"""What holds for all packets and all bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.mqtt_examples import EXAMPLES, MAX_PAYLOAD, bytewise, outcome
from xzgw.wire.mqtt import Decoder, encode
from xzgw.wire.packets import (
    Connack,
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
)

Value = TypeVar("Value")

thorough = settings(derandomize=True, deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = texts.filter(lambda text: text and not {"#", "+"} & set(text))
levels = st.one_of(st.just("+"), names.filter(lambda name: "/" not in name))
filters = st.builds(
    lambda parts, all_below: "/".join([*parts, "#"] if all_below else parts),
    st.lists(levels, min_size=1, max_size=4),
    st.booleans(),
)
blobs = st.binary(max_size=300)
ids = st.integers(1, 0xFFFF)
qos = st.integers(0, 2)


def optional(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value | None]:
    """The values, or None."""
    return st.none() | values


credentials: st.SearchStrategy[tuple[str | None, bytes | None]] = st.one_of(
    st.just((None, None)),
    st.tuples(texts, optional(blobs)),
)


@st.composite
def connects(draw: st.DrawFn) -> Connect:
    """A CONNECT that breaks no rule."""
    username, password = draw(credentials)
    return Connect(
        client_id=draw(texts.filter(bool)),
        username=username,
        password=password,
        keep_alive=draw(st.integers(0, 0xFFFF)),
        clean_session=draw(st.booleans()),
        level=draw(st.sampled_from([3, 4])),
        will=draw(optional(st.builds(Will, names, blobs, qos, st.booleans()))),
    )


publishes = st.one_of(
    st.builds(Publish, names, blobs, st.just(0), st.booleans()),
    st.builds(Publish, names, blobs, st.integers(1, 2), st.booleans(), st.booleans(), ids),
)
packets: st.SearchStrategy[Packet] = st.one_of(
    connects(),
    publishes,
    st.builds(Connack, st.integers(0, 5)),
    st.sampled_from([Puback, Pubrec, Pubrel, Pubcomp, Unsuback]).flatmap(
        lambda kind: st.builds(kind, ids)
    ),
    st.builds(Subscribe, ids, st.lists(st.tuples(filters, qos), min_size=1, max_size=5).map(tuple)),
    st.builds(
        Suback, ids, st.lists(st.sampled_from([0, 1, 2, 128]), min_size=1, max_size=5).map(tuple)
    ),
    st.builds(Unsubscribe, ids, st.lists(filters, min_size=1, max_size=5).map(tuple)),
    st.sampled_from([packet for packet, wire in EXAMPLES if len(wire) == 2]),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid packets with a few bytes changed, inserted or removed."""
    wire = bytearray(b"".join(encode(packet) for packet in draw(st.lists(packets, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(wire)))
        wire[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(wire)


wires = st.one_of(mutated(), st.binary(max_size=60))


class PropertyTests(SynchronousTestCase):
    """Round trip, segmentation, junk."""

    @thorough
    @given(st.lists(packets, max_size=5))
    def test_round_trip(self, sent: list[Packet]) -> None:
        """What is encoded is decoded, one after the other."""
        wire = b"".join(map(encode, sent))
        self.assertEqual(outcome([wire]), (sent, None, None))

    @thorough
    @given(wires)
    def test_bytewise(self, wire: bytes) -> None:
        """One chunk or byte by byte, the outcome is the same, errors included."""
        self.assertEqual(outcome([wire]), outcome(bytewise(wire)))

    @thorough
    @given(wires, st.lists(st.integers(0, 400), max_size=6), st.sampled_from([0, 5, MAX_PAYLOAD]))
    def test_segmentation(self, wire: bytes, cuts: list[int], limit: int) -> None:
        """However the bytes are cut, and whatever the limit, the outcome is the same."""
        edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
        chunks = [wire[a:b] for a, b in pairwise(edges)]
        self.assertEqual(outcome([wire], Decoder(limit)), outcome(chunks, Decoder(limit)))

    @thorough
    @given(wires)
    def test_junk(self, wire: bytes) -> None:
        """No bytes raise anything but MqttError, and what was read is a packet that the encoder
        writes and the decoder reads again."""
        read, _, _ = outcome([wire])
        self.assertEqual(outcome([b"".join(map(encode, read))]), (read, None, None))
