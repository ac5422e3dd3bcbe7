"""What a fuzz harness is, and the bytes that drive one.

A harness is a function of bytes that fails when something is wrong with what the code under test
made of them. So hypothesis, a file of the corpus and a coverage-guided fuzzer can all drive it.
Those that need more than one piece of input take their bytes as steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from tests.net.support import TcpTransport

Step = tuple[int, bytes]
Data = st.SearchStrategy[bytes]

_HEAD = 3  # bytes before each step: what to do, and how many bytes with


@dataclass(frozen=True, slots=True)
class Harness:
    """One decoder, or what stands around it.

    Attributes:
        one: raises anything at all (AssertionError, mostly) if the bytes show a fault.
        data: bytes that get far.
    """

    name: str
    one: Callable[[bytes], None]
    data: Data


class Transport(TcpTransport):
    """Like the real one, it can be told twice that there is no producer any more, and to go on
    reading when it is about to close."""

    def resumeProducing(self) -> None:
        if not self.disconnecting:
            super().resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None


def steps(data: bytes) -> Iterator[Step]:
    """Any bytes as steps; the last one may have fewer bytes than it announces."""
    at = 0
    while at + _HEAD <= len(data):
        size = data[at + 1] << 8 | data[at + 2]
        yield data[at], data[at + _HEAD : at + _HEAD + size]
        at += _HEAD + size


def pack(script: Iterable[Step]) -> bytes:
    """The bytes that are these steps, each of less than 64 KiB."""
    return b"".join(bytes((what,)) + len(data).to_bytes(2, "big") + data for what, data in script)


def scripts(
    step: st.SearchStrategy[Step], most: int = 20, beginnings: Sequence[Sequence[Step]] = ((),)
) -> Data:
    """Steps one after the other, as bytes: a few or many, after one of the beginnings."""
    lists = st.lists(step, max_size=most) | st.lists(step, min_size=most // 3, max_size=most)
    return st.builds(lambda first, then: pack([*first, *then]), st.sampled_from(beginnings), lists)


@st.composite
def spoiled(draw: st.DrawFn, good: Data) -> bytes:
    """Good bytes, with a few of them changed, inserted or removed more often than not."""
    wire = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(wire)))
        wire[position : position + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(wire)


@st.composite
def streams(draw: st.DrawFn, whole: Data) -> bytes:
    """A stream in pieces, as steps."""
    wire = draw(whole)
    edges = sorted({0, len(wire), *draw(st.lists(st.integers(0, len(wire)), max_size=5))})
    return pack((0, wire[a:b]) for a, b in pairwise(edges))


JSON_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def json_bytes(value: object) -> bytes:
    """JSON as bytes; lone surrogates are escapes."""
    return json.dumps(value).encode("ascii")


@contextmanager
def no_failure_logged() -> Iterator[None]:
    """A context in which nobody logs an exception, which is how Twisted survives a fault of ours.

    Raises:
        AssertionError: somebody did.
    """
    with capturedLogs() as events:
        yield
    for event in events:
        if "log_failure" in event:
            raise AssertionError(formatEvent(event)) from event["log_failure"].value


def one_line(text: str) -> bool:
    """Whether a text is fit for one line of a log."""
    return bool(text) and "\n" not in text and "\r" not in text
