"""Finds out why a device does not work with a gateway: `python -m xzgw.tools.doctor --help`.

docs/doctor.md tells what each step means, and lists the exit statuses.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from xzgw.tools import speech
from xzgw.tools.doctor.offline import look_around
from xzgw.tools.doctor.report import INTERRUPTED
from xzgw.tools.doctor.visit import Plan, visit
from xzgw.tools.identity import KEEP_ALIVE, Identity
from xzgw.wire.certificates import CertificateError, read_certificates
from xzgw.wire.mqtt import encode
from xzgw.wire.packets import Connect

KEY_VARIABLE = "MQTT_SIGNATURE_KEY"
PASSWORD_VARIABLE = "XZGW_DEVICE_PASSWORD"  # noqa: S105 - a name
LONGEST = 60.0  # s

_DESCRIPTION = """
Plays a device from where it is run, step by step, against any gateway of this protocol, and says
at which step what is wrong. The exit status is 0 if all is well, and else tells the step. With
--offline it looks at configuration and ports of this machine instead.
"""
_EPILOG = f"""
Secrets are better in the environment ({KEY_VARIABLE}, {PASSWORD_VARIABLE}) or in --key-file: others
can see a command line.
"""


def _parser() -> argparse.ArgumentParser:
    me = Identity()
    parser = argparse.ArgumentParser(
        prog="python -m xzgw.tools.doctor", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the gateway, as devices are told (%(default)s)")
    add("--port", type=int, help="its MQTT port (1883; with --tls 8883)")
    add("--tls", action="store_true", help="speak TLS to it")
    add("--ca", metavar="FILE", help="PEM of the authorities to trust in place of the system's")
    add("--key", help="signature key to make a device's password with")
    add("--key-file", metavar="FILE", help="the same, read from a file, or from - for stdin")
    add("--mac", default=me.mac, help="the device's MAC, with colons (%(default)s)")
    add("--uuid", default=me.uuid, help="the device's uuid (%(default)s)")
    add("--group", default=me.group, help="first part of the client id (%(default)s)")
    add("--client-id", help="a real device's, with its --username and --password, without a key")
    add("--username", help="see --client-id")
    add("--password", help="see --client-id")
    add("--timeout", type=float, default=10.0, help="longest wait for anything (%(default)s s)")
    add("--offline", action="store_true", help="check configuration and ports of this machine")
    add("--config", metavar="FILE", help="JSON file, for --offline")
    return parser


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the process with status 2 where it is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not 0 < given.timeout <= LONGEST:
        parser.error(f"--timeout must be above 0 and at most {LONGEST:g}")
    if given.offline:
        return given
    if given.ca and not given.tls:
        parser.error("--ca goes with --tls")
    if given.port is None:
        given.port = 8883 if given.tls else 1883
    if not 1 <= given.port <= 65535:
        parser.error("--port must be from 1 to 65535")
    given.credentials = _credentials(parser, given)
    try:
        encode(given.credentials)
    except ValueError:
        parser.error("client id, user name and password must be UTF-8, at most 65535 bytes each")
    given.authorities = _authorities(parser, given.ca) if given.ca else None
    return given


def _credentials(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Connect:
    if given.client_id is None:
        if given.username is not None or given.password is not None:
            parser.error("--username and --password go with --client-id")
        identity = Identity(given.mac, given.uuid, given.group)
        try:
            return identity.credentials(_key(parser, given))
        except UnicodeEncodeError:
            parser.error("key, MAC, uuid and group must be UTF-8 text")
    password = given.password or os.environ.get(PASSWORD_VARIABLE)
    if not given.username or not password:
        parser.error(f"--client-id needs --username, and --password or {PASSWORD_VARIABLE}")
    secret = password.encode("utf-8", "surrogateescape")
    return Connect(given.client_id, given.username, secret, KEEP_ALIVE, True, 4, None)


def _key(parser: argparse.ArgumentParser, given: argparse.Namespace) -> str:
    key: str = given.key or ""
    if given.key_file:
        try:
            text = sys.stdin.read() if given.key_file == "-" else Path(given.key_file).read_text()
        except (OSError, UnicodeError) as e:
            parser.error(f"--key-file: {e}")
        key = text.strip()
    key = key or os.environ.get(KEY_VARIABLE, "")
    if not key:
        wanted = "--key-file, or --client-id of a real device"
        parser.error(f"a signature key is needed: set {KEY_VARIABLE}, or give {wanted}")
    return key


def _authorities(parser: argparse.ArgumentParser, name: str) -> bytes:
    try:
        pem = Path(name).read_bytes()
        read_certificates(pem)
    except OSError as e:
        parser.error(f"--ca: {e}")
    except CertificateError as e:
        parser.error(f"--ca: {name}: {e}")
    return pem


async def examine(reactor: Any, given: argparse.Namespace) -> int:
    """Do what was asked for; returns the exit status."""
    if given.offline:
        return await look_around(
            reactor, os.environ, Path.cwd(), given.config, given.timeout, _print
        )
    plan = Plan(
        host=given.host,
        port=given.port,
        credentials=given.credentials,
        by_key=given.client_id is None,
        timeout=given.timeout,
        packets=speech.packets(),
        tls=given.tls,
        authorities=given.authorities,
    )
    return await visit(reactor, plan, _print)


def _print(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Examine; ends the process with the exit status."""
    given = options(arguments)
    statuses: list[int] = []

    async def run(reactor: Any) -> None:
        statuses.append(await examine(reactor, given))

    try:
        react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as e:
        # A signal ends the reactor with status 0, which would say that all is well.
        raise SystemExit(statuses[0] if statuses else e.code or INTERRUPTED) from None
    raise AssertionError("react ends the process")


if __name__ == "__main__":
    main()
