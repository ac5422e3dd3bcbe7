"""Reading the files that hold configuration."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xzgw.settings.files import Unreadable, parse_document, parse_variables, read_text


class ReadTextTests(SynchronousTestCase):
    """From a path to text."""

    def setUp(self) -> None:
        """A directory of our own."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "file"

    def test_text(self) -> None:
        """UTF-8 with or without the mark in front."""
        for content in ("ü".encode(), "ü".encode("utf-8-sig")):
            self.path.write_bytes(content)
            self.assertEqual(read_text(self.path, "name"), "ü")

    def test_absent(self) -> None:
        """A file that does not exist is no mistake here."""
        self.assertIsNone(read_text(self.path, "name"))
        self.path.write_bytes(b"")
        self.assertIsNone(read_text(self.path / "below", "name"))

    def test_unreadable(self) -> None:
        """What exists and cannot be read is named, with the reason."""
        error = self.assertRaises(Unreadable, read_text, self.directory, "name")
        self.assertEqual(str(error), "name: cannot be read: Is a directory")

    def test_not_utf8(self) -> None:
        """The first wrong byte is given."""
        self.path.write_bytes(b"ab\xff")
        error = self.assertRaises(Unreadable, read_text, self.path, "name")
        self.assertEqual(str(error), "name: byte 2 is not UTF-8")


class ParseDocumentTests(SynchronousTestCase):
    """From text to a JSON object."""

    def test_object(self) -> None:
        """One object."""
        self.assertEqual(parse_document(' {"a": {"b": [1]}}\n', "name"), {"a": {"b": [1]}})

    def test_refused(self) -> None:
        """Each mistake makes one line, with line and column where JSON itself is broken."""
        for text, start in (
            ("", "name:1:1: not JSON: "),
            ('{\n  "a": 1\n  "b": 2}', "name:3:3: not JSON: Expecting ',' delimiter"),
            ('{"a": NaN}', "name: not JSON: NaN is not a JSON number"),
            ('{"a": -Infinity}', "name: not JSON: -Infinity is not a JSON number"),
            ('{"a": ' + "1" * 5000 + "}", "name: not JSON: Exceeds the limit"),
            ("[" * 100_000, "name: nested too deep"),
            ("[]", "name: found an empty list, want an object"),
            ('"secret"', "name: found 'secret', want an object"),
        ):
            error = self.assertRaises(Unreadable, parse_document, text, "name")
            self.assertTrue(str(error).startswith(start), error)
            self.assertNotIn("\n", str(error))


class ParseVariablesTests(SynchronousTestCase):
    """From text to variables."""

    def test_variables(self) -> None:
        """Names and values as in every .env; nothing is put in for $; empty is not set."""
        text = (
            "# comment\r\nMQTT_PORT=1884  # why\r\nexport A='x # y'\nB=\"a b\"\nC=p$w${A}#1\n"
            "D=\nE\nMQTT_PORT=1885\n"
        )
        variables = {"MQTT_PORT": "1885", "A": "x # y", "B": "a b", "C": "p$w${A}#1"}
        self.assertEqual(parse_variables(text), (variables, []))

    def test_bad_lines(self) -> None:
        """Lines that mean nothing are counted from 1; the others still count."""
        self.assertEqual(
            parse_variables("A=1\n\n  b c = 2\nD=4\n=x\n"), ({"A": "1", "D": "4"}, [3, 5])
        )
