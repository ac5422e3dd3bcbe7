"""Where configuration comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from xzgw.settings.checks import Kind, boolean, many, number, read_number, secret, text
from xzgw.settings.sources import Found, Origin, Setting, Sources

PORT = Setting("port", Kind(number(0, 9), read_number), 5, "port", ("XZGW_PORT", "PORT"))
NAMES: Setting[tuple[str, ...]] = Setting(
    "some.names", Kind(many(text("a name")), str.split), (), "name", ("NAMES",)
)
DEBUG = Setting("debug", Kind(boolean), False, "debug")
KEY = Setting("", Kind(secret), "", variables=("KEY",))
ALL = (PORT, NAMES, DEBUG, KEY)


class SourcesTests(SynchronousTestCase):
    """All sources together."""

    def setUp(self) -> None:
        """An empty working directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def sources(
        self,
        document: object = None,
        flags: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        dotenv: str = "",
    ) -> Sources:
        """Sources of which each may be there or not."""
        if dotenv:
            (self.directory / ".env").write_text(dotenv, "utf-8")
        if document is not None:
            (self.directory / "a.json").write_text(json.dumps(document), "utf-8")
        sources = Sources(ALL, flags or {}, environ or {}, self.directory)
        sources.open_file(["a.json"])
        return sources

    def test_precedence(self) -> None:
        """Flag, then environment, then .env, then file, then default; each says where it is."""
        file, dotenv, environ, flags = {"port": 1}, "PORT=2", {"PORT": "3"}, {"port": "4"}
        for sources, expected in (
            (self.sources(), Found(5, Origin.DEFAULT, "a.json: port")),
            (self.sources(file), Found(1, Origin.FILE, "a.json: port")),
            (self.sources(file, dotenv=dotenv), Found(2, Origin.ENVIRONMENT, ".env: PORT")),
            (self.sources(file, {}, environ), Found(3, Origin.ENVIRONMENT, "environment: PORT")),
            (self.sources(file, flags, environ), Found(4, Origin.FLAG, "command line: --port")),
        ):
            self.assertEqual(sources.find(PORT), expected)
            self.assertEqual(sources.value(PORT), expected.value)
            self.assertEqual((sources.problems, sources.warnings), ([], []))

    def test_first_variable(self) -> None:
        """Of several variables the first wins, even from .env."""
        sources = self.sources(environ={"PORT": "3"}, dotenv="XZGW_PORT=4")
        self.assertEqual(sources.value(PORT), 4)

    def test_not_set(self) -> None:
        """Empty variables and null count as not set."""
        sources = self.sources({"port": None, "some": None}, environ={"PORT": ""}, dotenv="PORT=")
        self.assertEqual(sources.find(PORT).origin, Origin.DEFAULT)
        self.assertEqual(sources.find(NAMES).origin, Origin.DEFAULT)
        self.assertEqual(sources.problems, [])

    def test_forms(self) -> None:
        """Texts are read; lists and truth values of flags are taken as they are."""
        self.assertEqual(self.sources(flags={"debug": True}).value(DEBUG), True)
        self.assertEqual(self.sources(flags={"name": ["a b", "c"]}).value(NAMES), ("a b", "c"))
        self.assertEqual(self.sources(environ={"NAMES": "a b"}).value(NAMES), ("a", "b"))
        self.assertEqual(self.sources({"some": {"names": ["d"]}}).value(NAMES), ("d",))

    def test_secret(self) -> None:
        """A setting without a key is not looked for in the file, and is missed elsewhere."""
        found = self.sources({"": "x", "KEY": "y"}).find(KEY)
        self.assertEqual(found, Found("", Origin.DEFAULT, "environment: KEY"))

    def test_problem(self) -> None:
        """A bad value is a problem where it stands, and weaker sources do not step in."""
        sources = self.sources({"port": 1}, environ={"PORT": "x"})
        self.assertEqual(sources.find(PORT), Found(5, Origin.ENVIRONMENT, "environment: PORT"))
        want = "want a whole number from 0 to 9"
        self.assertEqual(sources.problems, [f"environment: PORT: found 'x', {want}"])

    def test_problem_places(self) -> None:
        """Each bad entry of a list is one problem."""
        sources = self.sources({"some": {"names": ["a", "", 1]}})
        self.assertEqual(sources.value(NAMES), ())
        self.assertEqual(
            sources.problems,
            [
                "a.json: some.names[1]: found '', want a name",
                "a.json: some.names[2]: found 1, want a name",
            ],
        )

    def test_numbers_of_the_file(self) -> None:
        """A text is not a number in JSON."""
        sources = self.sources({"port": "1"})
        sources.find(PORT)
        self.assertEqual(len(sources.problems), 1)

    def test_unknown_keys(self) -> None:
        """Keys that mean nothing are warned of, at the top and in sections, with a guess."""
        sources = self.sources({"Prot": 1, "some": {"nams": 2, "other": 3}, "zzz": {"port": 1}})
        unknown = "ignored, not a known name"
        self.assertEqual(
            sources.warnings,
            [
                f"a.json: 'Prot': {unknown}; did you mean port?",
                f"a.json: 'zzz': {unknown}",
                f"a.json: 'some.nams': {unknown}; did you mean names?",
                f"a.json: 'some.other': {unknown}",
            ],
        )

    def test_secret_in_file(self) -> None:
        """A secret in the file is pointed out, and not shown."""
        (warning,) = self.sources({"key": "hush"}).warnings
        self.assertEqual(warning, "a.json: 'key': ignored here, set it in the environment")

    def test_unknown_variables(self) -> None:
        """Variables with our prefix that mean nothing are warned of; others are not ours."""
        sources = self.sources(
            environ={"XZGW_PROT": "1", "HOME": "x"}, dotenv="XZGW_ELSEWHERE=1\nR=2"
        )
        unknown = "ignored, not a known name"
        self.assertEqual(
            sources.warnings,
            [
                f"environment: 'XZGW_PROT': {unknown}; did you mean XZGW_PORT?",
                f".env: 'XZGW_ELSEWHERE': {unknown}",
            ],
        )

    def test_section(self) -> None:
        """A section that is no object is one problem, and nothing in it is looked for."""
        sources = self.sources({"some": ["names"]})
        self.assertEqual(sources.value(NAMES), ())
        self.assertEqual(sources.problems, ["a.json: some: found a list, want an object"])


class FilesTests(SynchronousTestCase):
    """Files that are there or not."""

    def setUp(self) -> None:
        """An empty working directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_first_file(self) -> None:
        """The first file that exists is read, and no other."""
        (self.directory / "b.json").write_text('{"port": 1}')
        (self.directory / "c.json").write_text('{"port": 2}')
        sources = Sources(ALL, {}, {}, self.directory)
        self.assertTrue(sources.open_file(["a.json", "b.json", "c.json"]))
        self.assertEqual(sources.find(PORT), Found(1, Origin.FILE, "b.json: port"))
        self.assertEqual(sources.path, self.directory / "b.json")
        self.assertFalse(sources.broken)

    def test_no_file(self) -> None:
        """Without any, what is missing is missed in the first."""
        sources = Sources(ALL, {}, {}, self.directory)
        self.assertFalse(sources.open_file(["a.json", "b.json"]))
        self.assertEqual(sources.find(PORT).where, "a.json: port")
        self.assertIsNone(sources.path)

    def test_broken_file(self) -> None:
        """A broken file is not passed over for the next one."""
        (self.directory / "a.json").write_text("{")
        (self.directory / "b.json").write_text('{"port": 1}')
        sources = Sources(ALL, {}, {}, self.directory)
        self.assertTrue(sources.open_file(["a.json", "b.json"]))
        self.assertTrue(sources.broken)
        self.assertEqual(sources.value(PORT), 5)
        (problem,) = sources.problems
        self.assertIn("a.json:1:2: not JSON", problem)

    def test_dotenv_lines(self) -> None:
        """A line of .env that means nothing is warned of by number, and not shown."""
        (self.directory / ".env").write_text("KEY=a\nKEY hush\n")
        sources = Sources(ALL, {}, {}, self.directory)
        self.assertEqual(sources.warnings, [".env:2: ignored, not of the form NAME=value"])

    def test_dotenv_directory(self) -> None:
        """A directory named .env is none of ours."""
        (self.directory / ".env").mkdir()
        self.assertEqual(Sources(ALL, {}, {}, self.directory).problems, [])

    def test_dotenv_broken(self) -> None:
        """A .env that cannot be read is a problem: secrets may be in it."""
        (self.directory / ".env").write_bytes(b"\xff")
        sources = Sources(ALL, {}, {}, self.directory)
        self.assertEqual(sources.problems, [".env: byte 0 is not UTF-8"])
