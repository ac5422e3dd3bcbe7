"""Checks of single configuration values."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from xzgw.settings import checks as checks
from xzgw.settings.checks import Fault, Unfit


class ChecksTestCase(SynchronousTestCase):
    """What the tests of checks have in common."""

    def faults(self, check: checks.Check[object], value: object) -> tuple[Fault, ...]:
        """The mistakes that a check finds in a value."""
        faults: tuple[Fault, ...] = self.assertRaises(Unfit, check, value).faults
        return faults

    def assert_refused(self, check: checks.Check[object], values: Iterable[object]) -> None:
        """Each value has exactly one mistake, and it is said what was found."""
        for value in values:
            faults = self.faults(check, value)
            self.assertEqual([f.found for f in faults], [checks.shown(value)], value)


class ShownTests(SynchronousTestCase):
    """Values in messages."""

    def test_values(self) -> None:
        """Values look as in the file; containers are only named; control characters are escaped."""
        for value, expected in (
            ("a\nb", r"'a\nb'"),
            (True, "true"),
            (False, "false"),
            (7, "7"),
            (1.5, "1.5"),
            (None, "None"),
            ({"key": "secret"}, "an object"),
            (["secret"], "a list"),
            ([], "an empty list"),
        ):
            self.assertEqual(checks.shown(value), expected)

    def test_long(self) -> None:
        """Long values are cut at 80 characters; 80 themselves are not."""
        self.assertEqual(checks.shown("x" * 78), "'" + "x" * 78 + "'")
        self.assertEqual(checks.shown("x" * 79), "'" + "x" * 76 + "...")

    def test_credentials(self) -> None:
        """A user name and password in a URL are not shown, whatever characters they have."""
        self.assertEqual(checks.shown("ws://me:p/w@d@host/x"), "'ws://***@host/x'")

    def test_parameters(self) -> None:
        """Nor are tokens in what should have been a URL."""
        self.assertEqual(checks.shown("ws:/host?token=hush&a=1"), "'ws:/host?token=***&a=1'")


class UnfitTests(SynchronousTestCase):
    """Mistakes."""

    def test_inside(self) -> None:
        """Faults of a part are faults of the whole, at the part's place."""
        problem = Unfit(Fault(".a", "x", "y"), Fault("", "z", "w"))
        expected = [Fault("[1].a", "x", "y"), Fault("[1]", "z", "w")]
        self.assertEqual(problem.inside("[1]"), expected)


class ReadTests(SynchronousTestCase):
    """Texts of flags and variables."""

    def test_number(self) -> None:
        """Digits become a number; all else stays for the check to refuse."""
        self.assertEqual(checks.read_number(" 8884 "), 8884)
        for text in ("-1", "1e3", "", "٣", "1" * 11, "0x10"):
            self.assertEqual(checks.read_number(text), text)

    def test_boolean(self) -> None:
        """The usual words, in any case."""
        for text in ("1", "true", "Yes", " ON "):
            self.assertIs(checks.read_boolean(text), True)
        for text in ("0", "FALSE", "no", "off"):
            self.assertIs(checks.read_boolean(text), False)
        for text in ("2", "", "yes please"):
            self.assertEqual(checks.read_boolean(text), text)


class CheckTests(ChecksTestCase):
    """Checks of plain values."""

    def test_number(self) -> None:
        """Whole numbers within the range, both ends included; no truth values or fractions."""
        check = checks.number(2, 4)
        self.assertEqual([check(n) for n in (2, 3, 4)], [2, 3, 4])
        self.assert_refused(check, (1, 5, 3.0, "3", True, [3]))
        self.assertEqual(self.faults(check, 5)[0].want, "a whole number from 2 to 4")

    def test_boolean(self) -> None:
        """Only true and false."""
        self.assertIs(checks.boolean(True), True)
        self.assertIs(checks.boolean(False), False)
        self.assert_refused(checks.boolean, (1, 0, "true"))

    def test_text(self) -> None:
        """Printable texts that are not empty."""
        check = checks.text("a name")
        self.assertEqual(check("a ü"), "a ü")
        self.assert_refused(check, ("", "a\0", "\ud800", 1))

    def test_token(self) -> None:
        """Tokens are what a header can carry, and none that is not is shown."""
        self.assertEqual(checks.token("aZ9+/=~!"), "aZ9+/=~!")
        for value in ("", "a b", " geheim", "geheim\n", "gehéim", "geheim\udcff", 7):
            (fault,) = self.faults(checks.token, value)
            self.assertNotIn("geheim", f"{fault.found}{fault.want}")

    def test_secret(self) -> None:
        """Any text that UTF-8 can carry; what cannot be used is not shown."""
        self.assertEqual(checks.secret("p w\tü"), "p w\tü")
        (fault,) = self.faults(checks.secret, "geheim\udcff")
        self.assertNotIn("geheim", f"{fault.found}{fault.want}")

    def test_many(self) -> None:
        """A list, or one text; order is kept, repetitions are not."""
        check = checks.many(checks.text("a name"))
        self.assertEqual(check("one"), ("one",))
        self.assertEqual(check(["b", "a", "b"]), ("b", "a"))
        self.assertEqual(check([]), ())
        self.assert_refused(check, (1, {}, ""))

    def test_many_faults(self) -> None:
        """Each wrong entry is named by its place."""
        found = self.faults(checks.many(checks.text("a name")), ["a", 1, "b", ""])
        self.assertEqual(found, (Fault("[1]", "1", "a name"), Fault("[3]", "''", "a name")))

    def test_many_least(self) -> None:
        """A list that must not be empty."""
        check = checks.many(checks.text("a name"), least=1)
        self.assertEqual(check(["a"]), ("a",))
        self.assertEqual(
            self.faults(check, []), (Fault("", "an empty list", "a list of at least 1"),)
        )

    def test_object(self) -> None:
        """JSON objects are taken as they are."""
        self.assertEqual(checks.json_object({"a": [1]}), {"a": [1]})
        self.assert_refused(checks.json_object, ([], "{}", 1))

    def test_client_info(self) -> None:
        """Name and version are texts where given; other members are free."""
        for value in ({}, {"name": "a", "version": "1", "title": 3}):
            self.assertEqual(checks.client_info(value), value)
        self.assertEqual(
            self.faults(checks.client_info, {"name": 1, "version": None}),
            (Fault(".name", "1", "a text"), Fault(".version", "None", "a text")),
        )
        self.assert_refused(checks.client_info, ("me",))
