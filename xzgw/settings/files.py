"""Reading the files that hold configuration: one of JSON, one of variables (`.env`)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NoReturn

from dotenv.parser import parse_stream

from xzgw.settings.checks import shown


class Unreadable(Exception):
    """A file that cannot be used; the text is one complete line."""


def read_text(path: Path, name: str) -> str | None:
    """A UTF-8 file's text, without the mark that some editors put first; None if there is none.

    Raises:
        Unreadable: it exists and cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise Unreadable(f"{name}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise Unreadable(f"{name}: byte {problem.start} is not UTF-8") from None


def parse_document(text: str, name: str) -> dict[str, Any]:
    """The JSON object that the configuration file holds.

    Raises:
        Unreadable: anything else.
    """
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        place = f"{name}:{problem.lineno}:{problem.colno}"
        raise Unreadable(f"{place}: not JSON: {problem.msg}") from None
    except ValueError as problem:
        raise Unreadable(f"{name}: not JSON: {problem}") from None
    except RecursionError:
        raise Unreadable(f"{name}: nested too deep") from None
    if not isinstance(document, dict):
        raise Unreadable(f"{name}: found {shown(document)}, want an object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def parse_variables(text: str) -> tuple[dict[str, str], list[int]]:
    """The variables of a `.env` file, and the numbers of lines that cannot be read as one."""
    variables: dict[str, str] = {}
    bad_lines: list[int] = []
    # dotenv_values() would log the bad lines, to nowhere anybody looks.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            line = binding.original.string
            blank_before = line[: len(line) - len(line.lstrip())].count("\n")
            bad_lines.append(binding.original.line + blank_before)
        elif binding.key and binding.value:
            variables[binding.key] = binding.value
    return variables, bad_lines
