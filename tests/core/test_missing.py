"""Lost, late and duplicate packets, told apart."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.audio_stats import Stats
from xzgw.core.missing import MAX_JUMP, WINDOW, Missing


def counted(*sequences: int) -> tuple[int, int, int]:
    """Lost, late and duplicate of a stream, of which nothing old is accepted."""
    stats, last = Stats(), 0
    missing = Missing(stats)
    for sequence in sequences:
        if sequence <= last:
            missing.old(last, sequence)
            continue
        if sequence > last + 1:
            missing.skipped(last, sequence)
        last = sequence
    return stats.lost, stats.late, stats.duplicate


def reckoned(sequences: list[int]) -> tuple[int, int, int]:
    """The same, from all sequences ever seen."""
    last, late, duplicate = 0, 0, 0
    seen: set[int] = set()
    for sequence in sequences:
        if sequence > last:
            last = sequence
        elif last - sequence >= WINDOW:
            continue
        elif sequence in seen:
            duplicate += 1
        else:
            late += 1
        seen.add(sequence)
    accepted = len([n for k, n in enumerate(sequences) if n > max(sequences[:k], default=0)])
    return last - accepted - late, late, duplicate


class MissingTests(SynchronousTestCase):
    """One stream."""

    def test_in_order(self) -> None:
        """Nothing is missing, and what comes again is a duplicate."""
        self.assertEqual(counted(1, 2, 3), (0, 0, 0))
        self.assertEqual(counted(1, 1, 2, 3, 2, 1), (0, 0, 3))

    def test_late(self) -> None:
        """What comes behind a higher one was not lost; once more, it is a duplicate."""
        self.assertEqual(counted(1, 3), (1, 0, 0))
        self.assertEqual(counted(1, 3, 2), (0, 1, 0))
        self.assertEqual(counted(1, 3, 4, 2, 2, 3), (0, 1, 2))
        self.assertEqual(counted(1, 5, 6, 3, 7, 9, 4, 8), (1, 3, 0))

    def test_first(self) -> None:
        """A session's first packets may be late, too; there is no sequence 0."""
        self.assertEqual(counted(3, 1, 0), (1, 1, 0))

    def test_window(self) -> None:
        """Of what is too long ago nothing is told: it stays lost, and is no duplicate."""
        for behind, expected in ((WINDOW - 1, (0, 1, 0)), (WINDOW, (1, 0, 0))):
            self.assertEqual(counted(1, *range(3, 3 + behind), 2), expected)
            upto = range(1, 2 + behind)
            self.assertEqual(counted(*upto, 1), (0, 0, 1 if behind < WINDOW else 0))

    def test_long_loss(self) -> None:
        """All of a long loss counts; of it the latest can still come."""
        self.assertEqual(counted(1, 1 + MAX_JUMP), (MAX_JUMP - 1, 0, 0))
        self.assertEqual(counted(1, 1 + MAX_JUMP, MAX_JUMP, 2), (MAX_JUMP - 2, 1, 0))

    def test_jump(self) -> None:
        """A jump is no loss, and what was before it is neither late nor a duplicate."""
        self.assertEqual(counted(1, 3, 2 * MAX_JUMP), (1, 0, 0))
        jump = 2 * MAX_JUMP
        self.assertEqual(counted(1, 3, jump, jump - 1, 3, 2, jump, jump + 2), (2, 0, 1))

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.integers(-70, 70), max_size=80))
    def test_any(self, steps: list[int]) -> None:
        """It is what one finds who remembers all sequences."""
        sequences, last = [], 0
        for step in steps:
            sequences.append(max(1, last + step))
            last = max(last, sequences[-1])
        self.assertEqual(counted(*sequences), reckoned(sequences))
