"""Fuzzing for as long as one likes: `python -m tests.fuzz.run --seconds 300 [HARNESS ...]`.

Ends with status 1 if anything was found, and prints the bytes, which belong into the corpus.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from traceback import format_exception

from hypothesis import HealthCheck, given, seed, settings
from twisted.logger import globalLogBeginner

from tests.fuzz.harness import Harness
from tests.fuzz.harnesses import HARNESSES

BATCH = 200  # examples between looks at the clock
MOST_SAID = 4000  # characters of an error


@dataclass(slots=True)
class Report:
    """What became of one harness.

    Attributes:
        found: the smallest bytes that showed a fault, None if there were none.
        error: what they showed.
    """

    name: str
    examples: int = 0
    seconds: float = 0.0
    found: bytes | None = None
    error: str = ""

    def __str__(self) -> str:
        verdict = "nothing found" if self.found is None else "FOUND"
        return f"{self.name:16} {self.seconds:7.1f} s {self.examples:9} examples  {verdict}"


def explore(
    harness: Harness, examples: int, number: int | None, note: Callable[[bytes], None]
) -> None:
    """Let hypothesis try so many inputs; raises what the harness raises for the smallest.

    Args:
        number: seeds the choice; None for the same choice each time.
        note: told of each input before it is tried.
    """

    @settings(
        max_examples=examples,
        derandomize=number is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(harness.data)
    def try_one(data: bytes) -> None:
        note(data)
        harness.one(data)

    (try_one if number is None else seed(number)(try_one))()


def fuzz(harness: Harness, seconds: float) -> Report:
    """Try inputs for a time, or until something is found."""
    report = Report(harness.name)
    started = time.monotonic()
    last = [b""]  # hypothesis ends with the smallest bytes that fail

    def note(data: bytes) -> None:
        report.examples += 1
        last[0] = data

    while report.found is None and report.seconds < seconds:
        try:
            explore(harness, BATCH, random.getrandbits(64), note)
        except Exception as error:  # whatever the code under test raises is what is looked for
            report.found = last[0]
            report.error = "".join(format_exception(error, limit=-8))[-MOST_SAID:]
        report.seconds = time.monotonic() - started
    return report


def main(
    arguments: Sequence[str],
    known: Mapping[str, Harness] = HARNESSES,
    say: Callable[[str], object] = print,
) -> int:
    """Run harnesses one after the other; the exit status."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz the decoders of outside bytes.")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all of them together")
    parser.add_argument("harness", nargs="*", default=[], help=f"of {', '.join(known)}")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.harness) - set(known))
    if unknown:
        parser.error(f"no such harness: {', '.join(unknown)}")
    chosen = [known[name] for name in options.harness or known]
    findings = 0
    for harness in chosen:
        report = fuzz(harness, options.seconds / len(chosen))
        say(str(report))
        if report.found is not None:
            findings += 1
            say(f"{report.error}\ntests/fuzz/corpus/{report.name}/NAME.hex:\n{report.found.hex()}")
    return 1 if findings else 0


if __name__ == "__main__":
    # Twisted keeps events for whoever looks at its log later, unless nobody ever will.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    sys.exit(main(sys.argv[1:]))
