"""One whole conversation through a real gateway, shown and checked: `python -m xzgw.tools.demo`.

The gateway runs as a process of its own, as users run it; an echo server and a simulated device
are its two sides. As both are in this process, each packet's way is timed on one clock. The exit
status is 0 only if everything came back as it was sent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM, socket
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from xzgw.config import key_weakness
from xzgw.tools import speech
from xzgw.tools.echo_conversation import Frame
from xzgw.tools.echo_server import EchoServer
from xzgw.tools.gateway_process import GatewayProcess, child_environment, twistd_command
from xzgw.tools.identity import Identity
from xzgw.tools.narration import Say
from xzgw.tools.pacing import FRAME_SECONDS
from xzgw.tools.report import faults, milliseconds
from xzgw.tools.simulated import SimulatedDevice
from xzgw.tools.steps import StepError

HOST = "127.0.0.1"
ATTEMPTS = 3  # to find ports that nobody else takes meanwhile

# Variables that would make the gateway another one than the demo's.
_FOREIGN = {"PUBLIC_IP", "PUBLIC_UDP_PORT", "MQTT_PORT", "UDP_PORT", "API_PORT", "PORT"}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo's gateway listens."""

    mqtt: int
    api: int
    udp: int


def free_ports() -> Ports:
    """Ports that are free on the loopback at this moment."""
    with ExitStack() as stack:
        kinds = (SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM)  # MQTT, admin API, audio
        sockets = [stack.enter_context(socket(type=kind)) for kind in kinds]
        for one in sockets:
            one.bind((HOST, 0))
        return Ports(*(one.getsockname()[1] for one in sockets))


def throwaway_key() -> str:
    """A strong random signature key."""
    while key_weakness(key := secrets.token_urlsafe(24)) is not None:
        pass
    return key


def narrator(reactor: Any) -> Say:
    """Print lines with the seconds since now before them."""
    start = reactor.seconds()

    def say(line: str) -> None:
        print(f"{reactor.seconds() - start:6.2f} s  {line}", flush=True)

    return say


class Demo:
    """The demo's three actors and its one conversation. All steps raise StepError."""

    def __init__(self, reactor: Any, directory: Path, say: Say, command: Sequence[str]) -> None:
        """Take an empty directory for the gateway to run in, and the command that starts it."""
        self._reactor = reactor
        self._directory = directory
        self._say = say
        self._command = command
        self._key = throwaway_key()
        self._secret = secrets.token_urlsafe(24)
        self._server = EchoServer(
            reactor, secret=self._secret, say=lambda line: say(f"server  {line}")
        )
        self._device = SimulatedDevice(
            reactor, Identity(), self._key, say=lambda line: say(f"device  {line}")
        )

    async def run(self) -> None:
        """Start all, converse, check, stop all."""
        await self._server.listen()
        self._say(f"server  listens at {self._server.url}")
        try:
            await self._with_gateway()
        finally:
            await self._device.disconnect()
            await self._server.stop()

    async def _with_gateway(self) -> None:
        gateway, port = await self._start_gateway()
        try:
            await self._converse(port)
            self._say("gateway is told to stop (SIGTERM)")
            status = await gateway.stop()
            if status:
                raise StepError(f"stopping the gateway: it ended with status {status}, not 0")
            self._say("gateway stopped with exit status 0")
        except StepError:
            self._show_log(gateway)
            raise

    async def _start_gateway(self) -> tuple[GatewayProcess, int]:
        log = self._directory / "gateway.log"
        for attempt in range(1, ATTEMPTS + 1):
            ports = free_ports()
            environ = self._environment(ports)
            self._say(f"gateway starts: MQTT at {HOST}:{ports.mqtt}, UDP at {HOST}:{ports.udp}")
            gateway = GatewayProcess(self._reactor, self._command, environ, self._directory, log)
            try:
                await gateway.accepts(HOST, ports.mqtt)
                return gateway, ports.mqtt
            except StepError:
                clash = any("in use" in line.lower() for line in gateway.log_tail())
                if not clash or attempt == ATTEMPTS:
                    self._show_log(gateway)
                    raise
        raise AssertionError("the last attempt raises")

    def _show_log(self, gateway: GatewayProcess) -> None:
        self._say("gateway's last log lines:")
        for line in gateway.log_tail():
            self._say(f"  {line}")

    def _environment(self, ports: Ports) -> dict[str, str]:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in _FOREIGN and not name.startswith("XZGW_")
        }
        settings = {
            "MQTT_SIGNATURE_KEY": self._key,
            "SERVER_SECRET": self._secret,
            "CHAT_SERVERS": self._server.url,
            "XZGW_MQTT": f"tcp:{ports.mqtt}:interface={HOST}",
            "XZGW_API": f"tcp:{ports.api}:interface={HOST}",
            "XZGW_UDP": f"{HOST}:{ports.udp}",
        }
        return child_environment(environ, settings)

    async def _converse(self, port: int) -> None:
        await self._device.connect(HOST, port)
        await self._device.hello()
        frames = await self._speak(speech.packets())
        await self._call_a_tool()
        self._device.goodbye()
        await self._server.empty()
        self._say("server  sees the WebSocket closed")
        await self._device.disconnect()
        self._check(speech.packets(), frames)

    async def _speak(self, packets: list[bytes]) -> list[Frame]:
        self._device.listen("start", mode="manual")
        seconds = len(packets) * FRAME_SECONDS
        self._say(f"device  -> {len(packets)} packets of speech over UDP, {seconds:.1f} s")
        await self._device.speak(packets, _timestamps(packets))
        self._device.listen("stop")
        await self._device.expect("tts", 10 + seconds, state="stop")
        # Datagrams may come in after a text that was sent after them; the report counts the lost.
        with suppress(StepError):
            await self._device.hear(len(packets), 1.0)
        heard = len(self._device.voice.heard) if self._device.voice else 0
        self._say(f"device  <- {heard} packets of speech over UDP")
        return self._server.connections[0].conversation.turn

    async def _call_a_tool(self) -> None:
        mcp = self._server.connections[0].conversation.mcp
        names = [tool.get("name") for tool in await mcp.listed()]
        self._say(f"server  <- mcp tools: {', '.join(map(str, names))}")
        expected = [tool.name for tool in self._device.mcp.tools if not tool.user_only]
        if names != expected:
            raise StepError("MCP tools/list: the server did not get the device's tools")
        reply = await mcp.call(expected[0], {})
        if "result" not in reply:
            raise StepError(f"MCP tools/call: the server got {reply.get('error')}")
        self._say(f"server  <- mcp result of {expected[0]}")

    def _check(self, packets: list[bytes], frames: list[Frame]) -> None:
        voice = self._device.voice
        if voice is None:
            raise StepError("audio: no session was opened")
        print(f"\n  sent {len(packets)}   returned {len(voice.heard)}   lost {voice.lost}")
        sent_at = dict(zip(_timestamps(packets), voice.sent_at, strict=True))
        up = {f.timestamp: f.heard_at - sent_at[f.timestamp] for f in frames}
        back_at = {f.timestamp: f.sent_at for f in frames}
        down = {h.timestamp: h.at - (back_at.get(h.timestamp) or h.at) for h in voice.heard}
        both = [up[timestamp] + down[timestamp] for timestamp in up.keys() & down.keys()]
        for name, seconds in (
            ("device to server", up.values()),
            ("server to device", down.values()),
        ):
            print("  " + milliseconds(name, list(seconds)))
        print("  " + milliseconds("there and back", both) + "\n")
        found = faults(packets, _timestamps(packets), voice.heard)
        if found:
            raise StepError("audio: " + " ".join(found))


def _timestamps(packets: list[bytes]) -> list[int]:
    return [60 * number for number in range(1, len(packets) + 1)]


async def run(reactor: Any) -> None:
    """Run the demo. Raises SystemExit with a sentence when a step fails."""
    print("A simulated device talks to an echo server through the gateway.\n", flush=True)
    with TemporaryDirectory() as directory:
        try:
            demo = Demo(reactor, Path(directory), narrator(reactor), twistd_command())
            await demo.run()
        except StepError as e:
            raise SystemExit(f"\nFAILED: {e}") from None
    print("PASSED: every packet came back as it was sent.")


def main() -> None:
    """Run the demo; the exit status tells whether all went well."""
    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
