"""What the doctor says: one line a step, then what is wrong and what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from xzgw.tools.narration import Say

ALL_WELL = 0
INTERRUPTED = 130  # as shells have it for Ctrl-C

_WIDTH = 96  # characters of a line
_INDENT = " " * 9


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an examination; `status` is the exit status if it fails."""

    number: int
    name: str
    status: int


class Trouble(Exception):
    """A step failed.

    Attributes:
        what: what happened, a clause.
        advice: cause and remedy, in whole sentences.
        step: the one that failed, None for the one that is being taken.
    """

    def __init__(self, what: str, advice: str, step: Step | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.step = step


class Report:
    """Writes the lines, and keeps the exit status: that of the first step that failed."""

    def __init__(self, seconds: Callable[[], float], say: Say) -> None:
        """Take a clock and what takes the lines."""
        self.status = ALL_WELL
        self.warnings = 0
        self._seconds = seconds
        self._say = say
        self._step = Step(0, "", 1)
        self._started = 0.0

    def begin(self, step: Step) -> None:
        """This step is being taken from now on."""
        self._step = step
        self._started = self._seconds()

    def ok(self, detail: str) -> None:
        """The step that is being taken went well."""
        self.passed(self._step, self._seconds() - self._started, detail)

    def passed(self, one: Step, seconds: float, detail: str) -> None:
        """A step went well that took so long."""
        passed = 1000 * seconds
        self._say(f"ok      {one.number:2} {one.name:<12} {passed:6.0f} ms  {detail}".rstrip())

    def skipped(self, step: Step, why: str) -> None:
        """The step is not to be taken."""
        self._say(f"--      {step.number:2} {step.name}: {why}")

    def note(self, what: str) -> None:
        """A detail of the step that is being taken."""
        self._paragraph(what)

    def warn(self, what: str) -> None:
        """Something that does not keep things from working here and now."""
        self.warnings += 1
        self._paragraph("warning: " + what)

    def failed(self, trouble: Trouble) -> None:
        """A step failed."""
        step = trouble.step or self._step
        self.status = self.status or step.status
        self._say(f"FAILED  {step.number:2} {step.name}: {trouble.what}")
        self._paragraph(trouble.advice)

    def conclude(self) -> int:
        """The last line; returns the exit status."""
        if self.status:
            self._say(f"Something is wrong; exit status {self.status}.")
        else:
            noted = f", with {self.warnings} warning(s)" if self.warnings else ""
            self._say(f"All is well{noted}.")
        return self.status

    def _paragraph(self, text: str) -> None:
        for line in textwrap.wrap(text, _WIDTH - len(_INDENT), break_long_words=False):
            self._say(_INDENT + line)
