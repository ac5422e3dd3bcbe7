"""The command line of `twistd xzgw`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.net.certificates import HOUR, Authority
from xzgw.config import Config, load
from xzgw.options import Options, summary
from xzgw.settings import limits, table
from xzgw.settings.families import everywhere

KEY = "Sesame-0pen"
URL = "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway"
ENVIRON = {"MQTT_SIGNATURE_KEY": KEY, "SERVER_SECRET": "hush", "CHAT_SERVERS": URL}


class OptionsTests(SynchronousTestCase):
    """From arguments to a configuration, or an end."""

    def setUp(self) -> None:
        """An empty working directory."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def parse(self, arguments: Sequence[str], environ: Mapping[str, str] = ENVIRON) -> Options:
        """Options after parsing."""
        options = Options(environ, self.directory)
        options.parseOptions(list(arguments))
        return options

    def end(
        self, arguments: Sequence[str], environ: Mapping[str, str] = ENVIRON
    ) -> tuple[object, list[str], list[str]]:
        """Exit status, and the lines of standard output and standard error."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            error = self.assertRaises(SystemExit, self.parse, arguments, environ)
        return error.code, out.getvalue().splitlines(), err.getvalue().splitlines()

    def test_nothing_given(self) -> None:
        """Without arguments there are no flags, and the configuration is the environment's."""
        options = self.parse([])
        self.assertEqual(options.flags, {})
        self.assertEqual(
            options.config,
            Config(production_servers=(URL,), signature_key=KEY, server_secret="hush"),
        )
        self.assertEqual(options.warnings, ())

    def test_warnings_beside_mistakes(self) -> None:
        """A misspelt key is what the mistake comes from: both are told."""
        (self.directory / "a.json").write_text('{"production": {"chat_server": ["ws://a/"]}}')
        status, _, lines = self.end(["--config", "a.json"], {"MQTT_SIGNATURE_KEY": KEY})
        self.assertEqual(status, 1)
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("did you mean chat_servers?", lines[0])
        self.assertIn("production.chat_servers: found nothing", lines[1])

    def test_every_flag(self) -> None:
        """Every setting's flag is an option of that name, repeated ones collect, 0 is a value."""
        values = {
            "config": "a.json",
            "chat-server": [URL, "ws://b/?from=mqtt_gateway"],
            "mqtt": ["tcp:1", "tcp:2"],
            "api": "tcp:3",
            "udp": "127.0.0.1:4",
            "mqtt-port": "0",
            "api-port": "6",
            "udp-port": "7",
            "public-ip": "192.0.2.1",
            "public-udp-port": "8",
            "allow-unsigned": True,
            "backend-ca": "ca.pem",
            "publish-topic": "t",
            "max-mqtt-payload-size": "1000",
            "message-rate": "20",
            "message-burst": "200",
            **{each.flag: "9" for each in limits.ALL},
            "debug": True,
        }
        self.assertEqual(set(values), {s.flag for s in table.ALL if s.flag})
        (self.directory / "a.json").write_text("{}")
        (self.directory / "ca.pem").write_text(Path(Authority(self.mktemp()).path).read_text())
        arguments = [
            argument
            for name, value in values.items()
            for item in (value if isinstance(value, list) else [value])
            for argument in ([f"--{name}"] if item is True else [f"--{name}", str(item)])
        ]
        options = self.parse(arguments)
        self.assertEqual(options.flags, values)
        self.assertEqual(options.config.mqtt, ("tcp:1", "tcp:2"))
        self.assertEqual(options.config.production_servers, tuple(values["chat-server"]))  # type: ignore[arg-type]
        self.assertTrue(options.config.debug and options.config.allow_unsigned)

    def test_short_config(self) -> None:
        """-c is --config."""
        (self.directory / "a.json").write_text('{"debug": true}')
        options = self.parse(["-c", "a.json"])
        self.assertTrue(options.config.debug)
        self.assertEqual(options.config.source, self.directory.absolute() / "a.json")

    def test_load_again(self) -> None:
        """What is kept is what loading takes, and `--check` is no part of it."""
        options = self.parse(["--debug"])
        again, _ = load(options.flags, options.environ, options.directory)
        self.assertEqual(again, options.config)
        self.assertTrue(options.directory.is_absolute())

    def test_process(self) -> None:
        """By default it is the process's environment and working directory."""
        self.patch(os, "environ", dict(ENVIRON))
        options = Options()
        self.assertEqual(options.environ, ENVIRON)
        self.assertEqual(options.directory, Path.cwd())

    def test_mistakes(self) -> None:
        """Mistakes are one line each on standard error, and the status is 1; nothing else."""
        for arguments in (["--mqtt-port", "x"], ["--mqtt-port", "x", "--check"]):
            status, out, err = self.end(arguments, {"CHAT_SERVERS": URL})
            self.assertEqual((status, out), (1, []))
            self.assertEqual(len(err), 2)
            want = "want a whole number from 0 to 65535"
            self.assertEqual(err[0], f"command line: --mqtt-port: found 'x', {want}")

    def test_check(self) -> None:
        """A check prints what the configuration comes to, shows no secret, and ends with 0."""
        status, out, err = self.end(["--check"])
        self.assertEqual((status, err), (0, []))
        (line,) = out
        self.assertTrue(line.startswith("configuration is valid: "))
        for secret in (KEY, "hush"):
            self.assertNotIn(secret, line)

    def test_check_warnings(self) -> None:
        """Warnings do not make a check fail."""
        (self.directory / "a.json").write_text(json.dumps({"debg": True}))
        status, out, err = self.end(["--check", "--config", "a.json"])
        self.assertEqual((status, len(out)), (0, 1))
        expected = "warning: a.json: 'debg': ignored, not a known name; did you mean debug?"
        self.assertEqual(err, [expected])

    def test_check_certificates(self) -> None:
        """Files that TLS needs are read, those of devices and of the API: without them the gateway
        would not start. Ones out of their time are a warning.
        """
        authority = Authority(self.mktemp())
        good = authority.certificate("localhost")
        old = authority.certificate("old", valid=(-2 * HOUR, -HOUR))
        missing, empty = "/nonexistent/key.pem", str(self.directory / "empty.pem")
        Path(empty).touch()
        devices, api = (f"ssl:1:privateKey={path}" for path in (missing, empty))
        status, out, err = self.end(["--check", "--mqtt", f"haproxy:{devices}", "--api", api])
        self.assertEqual((status, out), (1, []))
        self.assertEqual(
            err,
            [
                f"haproxy:{devices}: {missing}: cannot be read: No such file or directory",
                f"{api}: {empty}: no private key in PEM form",
            ],
        )
        devices, api = (f"ssl:1:privateKey={path}" for path in (good, old))
        status, out, err = self.end(["--check", "--mqtt", devices, "--api", api])
        self.assertEqual((status, len(out)), (0, 1))
        self.assertEqual(err, [f"warning: certificate {old} has expired: clients will refuse it"])

    def test_check_no_api(self) -> None:
        """What is not going to be listened at needs no certificate."""
        environ = {**ENVIRON, "MQTT_SIGNATURE_KEY": "weak"}
        status, _, err = self.end(["--check", "--api", "ssl:1:privateKey=/nonexistent"], environ)
        self.assertEqual((status, len(err)), (0, 1))

    def test_not_read_without_check(self) -> None:
        """Without a check they are read when the ports are opened."""
        self.parse(["--mqtt", "ssl:1:privateKey=/nonexistent"])

    def test_warnings_kept(self) -> None:
        """Without a check, warnings are kept for the log."""
        (self.directory / "a.json").write_text(json.dumps({"debg": True}))
        self.assertEqual(len(self.parse(["--config", "a.json"]).warnings), 1)

    def test_stray_arguments(self) -> None:
        """What is no option is refused; secrets are no options."""
        for arguments in (["start"], ["--mqtt-signature-key", "x"], ["--debug=1"]):
            with self.assertRaises(UsageError):
                self.parse(arguments)


class SummaryTests(SynchronousTestCase):
    """One line about a configuration."""

    def test_addresses(self) -> None:
        """Where it listens, what devices are told, how many servers there are."""
        line = summary(
            Config(
                production_servers=("ws://a/", "ws://b/"),
                development_servers=("ws://c/",),
                development_macs=frozenset({"aa:bb:cc:dd:ee:ff"}),
                signature_key=KEY,
                mqtt=("tcp:1", "tcp:2"),
                udp_host="::1",
                udp_port=3,
                public_ip="192.0.2.1",
                public_udp_port=4,
                allow_unsigned=True,
                source=Path("/a.json"),
            )
        )
        for part in (
            "file /a.json;",
            "MQTT at tcp:1 tcp:2;",
            "audio at udp [::1]:3;",
            "to 192.0.2.1, port 4;",
            f"admin API at {everywhere(8007)};",
            "2 chat server(s);",
            "1 more for 1 device(s);",
            "unsigned devices let in",
        ):
            self.assertIn(part, line)

    def test_defaults(self) -> None:
        """What is not configured is said in words."""
        line = summary(Config(production_servers=(), udp_port=0))
        for part in (
            "file none;",
            "udp *:0;",
            "to the address they connected to, port as taken;",
            "admin API off;",
            "unsigned devices refused",
        ):
            self.assertIn(part, line)
        self.assertIn("udp 192.0.2.1:8884;", summary(Config((), udp_host="192.0.2.1")))
        self.assertIn("at udp systemd:a;", summary(Config((), udp_socket="systemd:a")))
