"""The samples in etc/ are usable as they are."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import xzgw
from xzgw.config import Config, ConfigError, load
from xzgw.options import Options
from xzgw.settings.families import everywhere
from xzgw.settings.files import parse_variables

ROOT = Path(xzgw.__file__).parent.parent
KEY = "Sesame-0pen"
URL = "ws://127.0.0.1:8000/xiaozhi/v1/?from=mqtt_gateway"
ENVIRON = {"MQTT_SIGNATURE_KEY": KEY, "CHAT_SERVERS": URL}


class SamplesTests(SynchronousTestCase):
    """JSON file, .env, systemd unit, Procfile."""

    def setUp(self) -> None:
        """A working directory with the samples in place."""
        self.directory = Path(self.mktemp())
        (self.directory / "etc").mkdir(parents=True)
        shutil.copy(ROOT / "etc" / "xzgw.json", self.directory / "etc")
        shutil.copy(ROOT / "etc" / "env.example", self.directory / ".env")

    def test_load(self) -> None:
        """With a key and a chat server the samples load without a warning, and set no more."""
        config, warnings = load({}, ENVIRON, self.directory)
        self.assertEqual(warnings, ())
        path = self.directory / "etc" / "xzgw.json"
        self.assertEqual(config, Config((URL,), signature_key=KEY, source=path))

    def test_what_is_asked_for(self) -> None:
        """The samples have no key and no chat server that anybody could leave as they are."""
        error = self.assertRaises(ConfigError, load, {}, {}, self.directory)
        problems = "\n".join(error.problems)
        self.assertEqual(len(error.problems), 2, problems)
        self.assertIn("MQTT_SIGNATURE_KEY: found nothing", problems)
        self.assertIn("production.chat_servers: found", problems)

    def test_env_lines(self) -> None:
        """Every line of the sample .env can be read."""
        variables, bad_lines = parse_variables((ROOT / "etc" / "env.example").read_text("utf-8"))
        self.assertEqual(bad_lines, [])
        self.assertEqual(variables["MQTT_PORT"], "1883")

    def test_commands(self) -> None:
        """Unit and Procfile start it in the foreground, with options that exist."""
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read(ROOT / "etc" / "xzgw.service", "utf-8")
        (procfile,) = (ROOT / "Procfile").read_text("utf-8").splitlines()
        passed = {
            "mqtt": ["systemd:domain=INET6:index=0"],
            "udp": "systemd",
            "api": "systemd:domain=INET6:index=2",
        }
        for command, ports in (
            (unit["Service"]["ExecStart"], passed),
            (procfile.removeprefix("web: "), {}),
        ):
            program, *arguments = command.split()
            self.assertEqual(Path(program).name, "twistd")
            self.assertEqual(arguments[:3], ["-n", "--pidfile=", "xzgw"])
            options = Options(ENVIRON, self.directory)
            given = [a.replace("/etc/xzgw/", "etc/") for a in arguments[3:]]
            options.parseOptions(given)
            self.assertEqual(options.flags, {"config": "etc/xzgw.json", **ports})

    def test_socket_unit(self) -> None:
        """systemd opens the usual ports, in the order in which the service refers to them."""
        lines = (ROOT / "etc" / "xzgw.socket").read_text("utf-8").splitlines()
        listen = [line for line in lines if line.startswith("Listen")]
        self.assertEqual(listen, ["ListenStream=1883", "ListenDatagram=8884", "ListenStream=8007"])
        config, _ = load({}, ENVIRON, self.directory)
        self.assertEqual(
            (config.mqtt, config.udp_port, config.api),
            ((everywhere(1883),), 8884, everywhere(8007)),
        )
