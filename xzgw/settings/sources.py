"""Where configuration comes from, strongest first: flags, environment, JSON file, defaults.

A `.env` file in the working directory belongs to the environment; a variable that is really set
wins over it, and an empty one counts as not set. Mistakes and oddities are collected, so that one
start shows them all. No message holds a secret.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

from xzgw.core.sayings import Saying, row, say
from xzgw.settings.checks import Kind, Unfit, shown
from xzgw.settings.files import Unreadable, parse_document, parse_variables, read_text

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DOTENV = ".env"
OUR_PREFIX = "XZGW_"


class Origin(IntEnum):
    """A kind of source; the smaller one wins."""

    FLAG = 0
    ENVIRONMENT = 1
    FILE = 2
    DEFAULT = 3


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """One thing that can be configured, and its name in each source.

    Attributes:
        key: place in the JSON file, `name` or `section.name`; empty if the file cannot hold it.
        flag: long option without its dashes, or empty.
        variables: environment variables, the first one wins.
    """

    key: str
    kind: Kind[T_co]
    default: T_co
    flag: str = ""
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found(Generic[T_co]):
    """A setting's value and where it was found, e.g. `environment: MQTT_PORT`."""

    value: T_co
    origin: Origin
    where: str


class Sources:
    """All sources of one start.

    Attributes:
        problems: one line per mistake, each with its place; the gateway must not start.
        warnings: one line per oddity.
        path: the JSON file that was read, or None.
        broken: whether the JSON file exists and could not be used, so that what is missing may
            well be in it.
    """

    def __init__(
        self,
        settings: Collection[Setting[Any]],
        flags: Mapping[str, object],
        environ: Mapping[str, str],
        directory: Path,
    ) -> None:
        self.problems: list[str] = []
        self.warnings: list[Saying] = []
        self.path: Path | None = None
        self.broken = False
        self._settings = settings
        self._flags = flags
        self._directory = directory
        self._environments = (("environment", environ), (DOTENV, self._read_dotenv()))
        self._file_name = ""
        self._document: dict[str, Any] = {}
        self._note_unknown_variables()

    def open_file(self, names: Sequence[str]) -> bool:
        """Read the first of these JSON files that exists; False if none does.

        Args:
            names: relative to the directory; at least one.
        """
        for name in names:
            self._file_name = name
            try:
                text = read_text(self._directory / name, name)
                if text is None:
                    continue
                self.path = self._directory / name
                self._document = parse_document(text, name)
            except Unreadable as problem:
                self.problems.append(str(problem))
                self.broken = True
            self._note_unknown_keys()
            return True
        self._file_name = names[0]
        return False

    def find(self, setting: Setting[T]) -> Found[T]:
        """The setting's value from the strongest source that has it.

        A value that cannot be used is noted as a problem and answered with the default.
        """
        for origin, where, raw in self._candidates(setting):
            try:
                return Found(setting.kind.check(raw), origin, where)
            except Unfit as unfit:
                self.problems += [
                    f"{where}{fault.place}: found {fault.found}, want {fault.want}"
                    for fault in unfit.faults
                ]
            return Found(setting.default, origin, where)
        return Found(setting.default, Origin.DEFAULT, self._home(setting))

    def value(self, setting: Setting[T]) -> T:
        """Like `find`, for those who do not care where it came from."""
        return self.find(setting).value

    def _candidates(self, setting: Setting[object]) -> Iterator[tuple[Origin, str, object]]:
        given = self._flags.get(setting.flag)
        if given is not None:
            raw = setting.kind.read(given) if isinstance(given, str) else given
            yield Origin.FLAG, f"command line: --{setting.flag}", raw
        for variable in setting.variables:
            for name, environment in self._environments:
                if environment.get(variable):
                    raw = setting.kind.read(environment[variable])
                    yield Origin.ENVIRONMENT, f"{name}: {variable}", raw
        section, _, key = setting.key.rpartition(".")
        members = self._document.get(section) if section else self._document
        # null is how JSON says that something is not set.
        if key and members is not None and members.get(key) is not None:
            yield Origin.FILE, self._home(setting), members[key]

    def _home(self, setting: Setting[object]) -> str:
        """Where an operator would look for a setting that is missing."""
        if setting.key:
            return f"{self._file_name}: {setting.key}"
        return f"environment: {setting.variables[0]}"

    def _read_dotenv(self) -> dict[str, str]:
        path = self._directory / DOTENV
        try:
            # A directory of this name is somebody's virtual environment.
            text = None if os.path.isdir(path) else read_text(path, DOTENV)
        except Unreadable as problem:
            self.problems.append(str(problem))
            return {}
        variables, bad_lines = parse_variables(text or "")
        self.warnings += [say("bad_line", file=DOTENV, line=n) for n in bad_lines]
        return variables

    def _note_unknown_variables(self) -> None:
        known = {variable for setting in self._settings for variable in setting.variables}
        for where, environment in self._environments:
            for name in environment:
                if name.startswith(OUR_PREFIX) and name not in known:
                    self.note_unknown(where, name, name, known)

    def _note_unknown_keys(self) -> None:
        """Warn of keys that mean nothing; drop, with a problem, sections that are no objects."""
        keys = [setting.key.rpartition(".") for setting in self._settings if setting.key]
        sections = {section for section, _, _ in keys}
        for section in sorted(sections):  # the top level, "", comes first
            members = self._document.get(section) if section else self._document
            if members is None:
                continue
            if not isinstance(members, dict):
                where = f"{self._file_name}: {section}"
                self.problems.append(f"{where}: found {shown(members)}, want an object")
                del self._document[section]
                continue
            known = {key for at, _, key in keys if at == section}
            known |= set() if section else sections - {""}
            for name in members:
                if name not in known:
                    full_name = f"{section}.{name}" if section else name
                    self.note_unknown(self._file_name, full_name, name, known)

    def note_unknown(self, where: str, full_name: str, name: str, known: Collection[str]) -> None:
        """Warn of a name that means nothing, with a guess.

        Args:
            where: file or kind of source.
            full_name, name: with and without the sections it stands in.
            known: names that it could be a misspelling of.
        """
        secrets = {v for s in self._settings if not s.key for v in s.variables}
        spellings = {spelling.lower(): spelling for spelling in known}
        close = get_close_matches(name.lower(), spellings, 1)
        found = shown(full_name)
        if name.upper() in secrets:
            line = say("secret_in_file", where=where, name=found)
        else:
            line = say("unknown_name", where=where, name=found)
            if close:
                line = row(line, say("misspelt_name", name=spellings[close[0]]))
        self.warnings.append(line)
