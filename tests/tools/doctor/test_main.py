"""The doctor's command line, and the doctor against real gateways."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from tests.net.certificates import Authority
from tests.support import KEY, PATH, SPEECH, ChatServer, GatewayProcess, environment
from tests.tools.child import Child
from tests.tools.doctor.test_visit import PLAN, VisitTestCase, closed_port
from xzgw.tools.doctor.__main__ import options
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.identity import Identity
from xzgw.wire.audio import server_audio

MODULE = ["-m", "xzgw.tools.doctor"]
PLAN_KEY = "Kq7pLmZwRt"


def child_environ(**settings: str) -> dict[str, str]:
    """What a command needs, and these settings."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **settings}


class OptionTests(SynchronousTestCase):
    """What may be given."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        variable = environment("MQTT_SIGNATURE_KEY", "")
        variable.__enter__()
        self.addCleanup(variable.__exit__, None, None, None)

    def refused(self, *arguments: str) -> str:
        """How the command line is refused: with status 2."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            error = self.assertRaises(SystemExit, options, arguments)
        self.assertEqual(error.code, 2, said.getvalue())
        return said.getvalue()

    def file(self, content: str | bytes) -> str:
        path = self.directory / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def test_key(self) -> None:
        """The key comes from a flag, a file, standard input or the environment."""
        expected = Identity().credentials(PLAN_KEY)
        self.assertEqual(options(["--key", PLAN_KEY]).credentials, expected)
        name = self.file(f"{PLAN_KEY}\n")
        self.assertEqual(options(["--key-file", name]).credentials, expected)
        self.patch(sys, "stdin", io.StringIO(f"{PLAN_KEY}\n"))
        self.assertEqual(options(["--key-file", "-"]).credentials, expected)
        with environment("MQTT_SIGNATURE_KEY", PLAN_KEY):
            self.assertEqual(options([]).credentials, expected)

    def test_device(self) -> None:
        """A real device's credentials are taken as they are, and no key is needed."""
        device = "--client-id", "id", "--username", "me"
        connect = options([*device, "--password", "secret"]).credentials
        self.assertEqual((connect.client_id, connect.username), ("id", "me"))
        self.assertEqual(connect.password, b"secret")
        with environment("XZGW_DEVICE_PASSWORD", "other"):
            self.assertEqual(options(device).credentials.password, b"other")

    def test_port(self) -> None:
        """1883, with TLS 8883, or what is given."""
        for arguments, port in (([], 1883), (["--tls"], 8883), (["--tls", "--port", "7"], 7)):
            self.assertEqual(options(["--key", "x", *arguments]).port, port)

    def test_refused(self) -> None:
        """Each mistake is one line, and no secret is in it."""
        key = "--key", "the-secret"
        for arguments, words in (
            ((), "a signature key is needed: set MQTT_SIGNATURE_KEY"),
            ((*key, "--port", "0"), "--port must be"),
            ((*key, "--port", "65536"), "--port must be"),
            ((*key, "--timeout", "0"), "--timeout must be"),
            ((*key, "--timeout", "nan"), "--timeout must be"),
            ((*key, "--timeout", "61"), "--timeout must be"),
            ((*key, "--ca", "x"), "--ca goes with --tls"),
            ((*key, "--tls", "--ca", "/nonexistent"), "--ca: "),
            ((*key, "--tls", "--ca", self.file("x")), "no certificate in PEM form"),
            ((*key, "--username", "x"), "go with --client-id"),
            (("--client-id", "x"), "--client-id needs --username"),
            (("--client-id", "x", "--username", "me"), "XZGW_DEVICE_PASSWORD"),
            (("--key-file", "/nonexistent"), "--key-file: "),
            (("--key", "\udcff"), "must be UTF-8"),
            (("--client-id", "\udcff", "--username", "x", "--password", "x"), "must be UTF-8"),
            (("--client-id", 70_000 * "x", "--username", "x", "--password", "x"), "65535 bytes"),
        ):
            said = self.refused(*arguments)
            self.assertIn(words, said)
            self.assertNotIn("the-secret", said)

    def test_key_file_not_text(self) -> None:
        """A file of bytes that are no text is refused."""
        self.assertIn("--key-file: ", self.refused("--key-file", self.file(b"\xff\xfe")))


class CommandTests(TestCase):
    """The command as a process of its own."""

    timeout = 60

    async def run_doctor(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """Exit status and all output."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable, [*MODULE, *arguments], child_environ(**settings), self.mktemp_made()
        )
        return status, (out + err).decode()

    def mktemp_made(self) -> str:
        directory: str = self.mktemp()
        os.mkdir(directory)
        return directory

    async def test_well(self) -> None:
        """With gateway and echo server all steps are ok; with another key the fourth is not."""
        server = EchoServer(reactor)
        await server.listen()
        self.addCleanup(server.stop)
        gateway = GatewayProcess(Path(self.mktemp()), {"CHAT_SERVERS": server.url})
        self.addCleanup(gateway.kill)
        port = f"--port={gateway.mqtt_port}"
        status, output = await self.run_doctor(port, MQTT_SIGNATURE_KEY=KEY)
        self.assertEqual(status, 0, output)
        self.assertEqual(output.count("\nok") + output.startswith("ok"), 10, output)
        self.assertIn("answered: initialize, tools/list", output)
        self.assertIn("64 packets sent, and they arrived", output)
        self.assertIn("All is well", output)
        status, output = await self.run_doctor(port, MQTT_SIGNATURE_KEY="Another-one")
        self.assertEqual(status, 14, output)
        self.assertIn("MQTT_SIGNATURE_KEY is not the one", output)
        self.assertNotIn("Another-one", output)
        self.assertEqual(gateway.stop(), 0)
        self.assertNotIn("Traceback", gateway.log)

    async def test_usage(self) -> None:
        """A mistake in the command line is status 2, without a traceback."""
        status, output = await self.run_doctor("--port", "x")
        self.assertEqual(status, 2)
        self.assertNotIn("Traceback", output)

    async def test_interrupted(self) -> None:
        """A signal is not taken for health."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = str(silent.getsockname()[1])
            child = Child()
            process = reactor.spawnProcess(
                child,
                sys.executable,
                [sys.executable, *MODULE, "--port", port],
                child_environ(MQTT_SIGNATURE_KEY=KEY),
                self.mktemp_made(),
            )
            self.addCleanup(child.end, process)
            await child.shows("3 TLS: not used")
            process.signalProcess("INT")
            self.assertEqual(await child.ended, 130, child.output)
            self.assertNotIn("Traceback", child.output)


class RealGatewayTests(VisitTestCase):
    """Our own gateway, with one thing wrong around it."""

    timeout = 60

    async def start(self, **settings: str) -> GatewayProcess:
        gateway = GatewayProcess(Path(self.mktemp()), settings)
        self.addCleanup(gateway.kill)
        self.plan = replace(
            PLAN, credentials=Identity().credentials(KEY), port=gateway.mqtt_port, timeout=1.5
        )
        return gateway

    async def examine(self, status: int, *words: str, **changes: Any) -> None:
        names = "port", "credentials", "timeout"
        plan = {name: getattr(self.plan, name) for name in names}
        await super().examine(status, *words, **{**plan, **changes})

    def chat_server(self, script: Callable[[ServerConnection], None]) -> ChatServer:
        """One that greets its one device and then follows the script, in a thread."""
        chat = ChatServer()
        self.addCleanup(chat.close)

        def run() -> None:
            connection = chat.greet("s-1")
            with contextlib.suppress(ConnectionClosed):
                script(connection)

        done = deferToThread(run)
        self.addCleanup(lambda: done)
        return chat

    async def test_silent_server(self) -> None:
        """A server that opens the session and says nothing more."""

        def read_on(connection: ServerConnection) -> None:
            while True:
                connection.recv()

        chat = self.chat_server(read_on)
        await self.start(CHAT_SERVERS=chat.url)
        await self.examine(19, "FAILED 9 answer", timeout=0.5)

    async def test_blocked(self) -> None:
        """A port that is advertised and leads nowhere, with a server that behaves as the real one:
        it says nothing when it has heard nothing, and answers a text.
        """

        def answer_text(connection: ServerConnection) -> None:
            while True:
                message = connection.recv()
                if isinstance(message, str) and json.loads(message).get("state") == "detect":
                    tts = {"type": "tts", "session_id": "s-1"}
                    connection.send(json.dumps({**tts, "state": "start"}))
                    connection.send(server_audio(0, 0, SPEECH[0]))
                    connection.send(json.dumps({**tts, "state": "stop"}))

        chat = self.chat_server(answer_text)
        with socket.socket(type=socket.SOCK_DGRAM) as hole:
            hole.bind(("127.0.0.1", 0))
            port = hole.getsockname()[1]
            await self.start(CHAT_SERVERS=chat.url, PUBLIC_UDP_PORT=str(port))
            await self.examine(18, f"Open {port}/udp in every firewall", timeout=0.7)
            self.assertNotIn("And:", self.text)  # MQTT came through at this address

    async def test_wrong_address(self) -> None:
        """Audio that is to go where no gateway is: the advice names the address's fault."""
        server = EchoServer(reactor)
        await server.listen()
        self.addCleanup(server.stop)
        gateway = await self.start(CHAT_SERVERS=server.url, PUBLIC_IP="127.77.0.1")
        await self.examine(
            *(18, "FAILED 8 UDP out: nobody listens there", "Compare PUBLIC_IP"),
            "And: the gateway advertises 127.77.0.1, which is the loopback address",
        )
        gateway.wait_for("PUBLIC_IP: '127.77.0.1' is the loopback address")  # it said so itself

    async def test_tls_and_dead_server(self) -> None:
        """The certificate is checked as devices do, before anything is sent. The gateway's own
        words are told about a chat server that is not there.
        """
        authority = Authority(self.mktemp())
        file = Path(authority.certificate("127.0.0.1")).absolute()
        url = f"ws://127.0.0.1:{closed_port(socket.SOCK_STREAM)}{PATH}"
        endpoint = f"ssl:0:privateKey={file}:interface=127.0.0.1"
        await self.start(CHAT_SERVERS=url, XZGW_MQTT=endpoint)
        await self.examine(13, "FAILED 3 TLS: unable to get local issuer certificate", tls=True)
        self.lines.clear()
        trusted = {"tls": True, "authorities": authority.pem}
        words = (
            "is valid for 127.0.0.1",
            "ok 4 CONNECT",
            "the gateway says: no chat server answered",
        )
        await self.examine(16, *words, **trusted)
        self.lines.clear()
        await self.examine(13, "Hostname mismatch", host="localhost", **trusted)
        self.lines.clear()
        await self.examine(14, "try --tls")
