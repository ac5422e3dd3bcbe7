"""Configuration: the JSON file, the environment and `.env`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor

from tests.fuzz.harness import (
    JSON_VALUES,
    Data,
    Harness,
    json_bytes,
    one_line,
    scripts,
    spoiled,
    steps,
)
from xzgw.config import Config, ConfigError, load
from xzgw.masked import masked
from xzgw.options import summary
from xzgw.settings.table import ALL

KEY = "Sesame-0pen"
MARK = "MARK-of-a-secret"
HOOK = "https://hook.example/"
SECRET_VARIABLES = {"MQTT_SIGNATURE_KEY", "SERVER_SECRET"}
URL = "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway"
VARIABLES = tuple(name for setting in ALL for name in setting.variables)
DOTENV = 255  # the step that is a `.env` file
_LONGEST_LINE = 2000  # characters
_TOO_LONG = os.strerror(errno.ENAMETOOLONG)


def file(data: bytes) -> None:
    """Any bytes as the JSON file."""
    secrets = {KEY, MARK} if _is_well_kept(data) else {KEY}
    _load({"MQTT_SIGNATURE_KEY": KEY}, {"etc/xzgw.json": data}, secrets)


def _is_well_kept(data: bytes) -> bool:
    """Whether the mark is only where a secret belongs, in the webhooks."""
    try:
        document = json.loads(data)
        for hook in document["webhooks"]:
            hook["secret"] = None
            if hook.get("url", "").startswith(HOOK):
                hook["url"] = None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return MARK.encode() not in data
    return MARK not in json.dumps(document)


def environment(data: bytes) -> None:
    """Each step is a variable, `NAME=value`, or the `.env` file."""
    variables = {"MQTT_SIGNATURE_KEY": KEY, "CHAT_SERVERS": URL}
    files = {}
    for what, value in steps(data):
        if what == DOTENV:
            files[".env"] = value
        else:
            name, _, text = os.fsdecode(value.replace(b"\0", b"")).partition("=")
            variables[name] = text
    # A path may be that of a device file, which has no end.
    for name in ("XZGW_CONFIG", "XZGW_BACKEND_CA"):
        if name in variables:
            variables[name] = variables[name].replace("/", "_")
    said = "\n".join(value for name, value in variables.items() if name not in SECRET_VARIABLES)
    said += files.get(".env", b"").decode("utf-8", "replace")
    secrets = {variables[name] for name in SECRET_VARIABLES & set(variables)}
    _load(variables, files, {each for each in secrets if len(each) > 9 and each not in said})


def _load(
    variables: Mapping[str, str], files: Mapping[str, bytes], secrets: Collection[str]
) -> None:
    directory = _directory()
    for name in ("etc/xzgw.json", ".env"):
        path = directory / name
        if name in files:
            path.write_bytes(files[name])
        else:
            path.unlink(missing_ok=True)
    try:
        config, warnings = load({}, variables, directory)
    except ConfigError as error:
        assert error.problems
        _check_lines((*error.problems, *error.warnings), secrets)
        return
    _check_lines(warnings, secrets)
    _check_config(config, secrets)


def _check_lines(lines: tuple[str, ...], secrets: Collection[str]) -> None:
    for line in lines:
        assert one_line(line), line
        assert len(line) <= _LONGEST_LINE or _TOO_LONG in line, line  # paths are told whole
        line.encode()  # can be written
        assert not any(secret in line for secret in secrets), line


def _check_config(config: Config, secrets: Collection[str]) -> None:
    """What was accepted can be shown, and used."""
    shown = json.dumps(masked(config), allow_nan=False)
    assert not any(secret in shown for secret in secrets), shown
    summary(config).encode()
    assert config.production_servers
    for endpoint in (*config.mqtt, config.api):
        if endpoint.startswith("tcp"):
            serverFromString(MemoryReactor(), endpoint)


@cache
def _holder() -> TemporaryDirectory[str]:
    holder = TemporaryDirectory(prefix="xzgw-fuzz-")
    (Path(holder.name) / "etc").mkdir()
    return holder


def _directory() -> Path:
    return Path(_holder().name)


_texts = st.one_of(
    st.sampled_from(
        [
            URL,
            URL + " " + URL.replace("127.0.0.1", "[::1]"),
            "wss://chat.example:443/xiaozhi/v1/?token=x",
            "ws://user:x@h/",
            "ws://<ip>/",
            "ws://h:0/",
            "ws://h:99999/",
            "ws://[::1/",
            "ws://[v1.a]/",
            HOOK + MARK,
            "aa:bb:cc:dd:ee:ff",
            "10.0.0.0/8",
            "10.0.0.1/8 ::1/128",
            "fe80::1%eth0",
            "tcp:1883",
            "tcp6:1883",
            "tcp:1883:interface=\\:\\:1",
            "tcp:port=1883:port=1884",
            "tcp:1883:backlog=x",
            "tcp:1883:nonsense=1",
            "tcp:1:2:3:4:5",
            "tcp:1883\\",
            "haproxy:tcp:1883",
            "haproxy:haproxy:",
            "haproxy:" * 1500 + "tcp:1",
            "ssl:8883:privateKey=k.pem",
            "ssl:8883:privateKey=k.pem:over=ssl\\:1\\:privateKey=k",
            "systemd:domain=INET:index=0",
            "fd:3",
            "[::]:8884",
            "[]:1",
            "1.2.3.4:8884",
            "0x10",
            "１２３",
            "1" * 5000,
            "true",
            "NO",
            "null",
            MARK,
        ]
    ),
    st.text(max_size=12),
)
_objects = st.dictionaries(
    st.sampled_from(["url", "weight", "secret", "events", "name", "version", "urL"]),
    st.one_of(_texts, JSON_VALUES, st.integers(-1, 101), st.just(["connect", "nonsense"])),
    max_size=4,
)
_values: st.SearchStrategy[object] = st.one_of(
    JSON_VALUES,
    _texts,
    st.lists(_texts, max_size=3),
    _objects,
    st.lists(_objects | _texts, max_size=3),
    st.sampled_from([0, 1, 1883, 65535, 65536, 256, 10**30, -1, 1.0, 1e308]),
)
_keys = st.sampled_from([setting.key for setting in ALL if setting.key])
_sections = ("production", "development", "mcp_client")


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    document: dict[str, object] = {"production": {"chat_servers": [URL]}}
    for _ in range(draw(st.integers(0, 4))):
        section, _, key = draw(_keys).rpartition(".")
        held = document.setdefault(section, {}) if section else document
        if isinstance(held, dict):
            held[key] = draw(_values)
    if draw(st.integers(0, 4)) == 0:
        document[draw(st.sampled_from(_sections) | st.text(max_size=9))] = draw(_values)
    return json_bytes(document)


_dotenv: Data = spoiled(
    st.lists(
        st.builds(
            lambda form, name, value: form.format(name, value).encode("utf-8", "surrogatepass"),
            st.sampled_from(
                ["{}={}\n", "export {}='{}'\n", '{}="{}"\r\n', "{}\n", "# {}={}\n", "="]
            ),
            st.sampled_from(VARIABLES) | st.text(max_size=4),
            _texts,
        ),
        max_size=4,
    ).map(b"".join)
)
_variables = st.one_of(
    st.builds(
        lambda name, value: (0, name.encode() + b"=" + value),
        st.sampled_from(VARIABLES),
        _texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=9),
    ),
    st.tuples(st.just(DOTENV), _dotenv),
)

HARNESSES = (
    Harness("config_file", file, _documents() | spoiled(_documents())),
    Harness("environment", environment, scripts(_variables, 4)),
)
