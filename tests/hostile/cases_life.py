"""The life of the gateway and of its chat servers, under attack."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hostile.attack import CROWD, devices
from tests.hostile.caller import DEVICES, LAST, OPEN, STATUS, TOKEN, ask, call
from tests.hostile.cases_endings import silent
from tests.hostile.cases_frames import PER_SESSION
from tests.hostile.cases_handshake import silent_after
from tests.hostile.everything import flooded, torrent
from tests.hostile.foul_server import Peer, playing, server_of
from tests.hostile.harness import SETTINGS, Case, Gateway, Target, eventually
from tests.raw_device import RawDevice
from tests.stream_device import HELLO
from tests.support import PATH, ROOT

FEW = 20  # devices
SIGNALS = 20
UNAVAILABLE = 3  # CONNACK
READ = "configuration read again"
LONGEST_STOP = 5.0  # s
# What may be found in the place of a configuration.
BROKEN = (
    *(b"", b"{", b"[]", b"null", b"\xff\xfe{", b'{"production":7}', b"[" * 100_000, b"9" * 5000),
    *(b'{"production":{"chat_servers":["http://x"]}}', b'{"udp_port":"x"}', bytes(1 << 20)),
)


# --- with the canary talking to the end ---


def configuration(target: Target) -> Path:
    """The gateway's file."""
    return Path(target.gateway.wait_for(r"xzgw \S+, configuration (\S+)")[1])


def configure(target: Target, text: bytes) -> None:
    """Write it, and wait until it is taken."""
    lines = target.gateway.lines
    seen = len(lines)
    configuration(target).write_bytes(text)
    target.gateway.send(signal.SIGHUP)
    assert eventually(lambda: any(READ in each for each in lines[seen:])), lines[seen:]


def reload_storm(target: Target) -> None:
    """One signal after the other, the file being broken and good in turn; good in the end."""
    path, seen = configuration(target), len(target.gateway.lines)
    good = path.read_bytes()
    for number in range(SIGNALS):
        path.write_bytes(good if number % 2 else BROKEN[number // 2 % len(BROKEN)])
        target.gateway.send(signal.SIGHUP)
        if number % 5 == 0:
            target.canary.beats(1)
    configure(target, good)
    kept = [each for each in target.gateway.lines[seen:] if "the old one stays" in each]
    assert kept, "none was refused"
    server_of(target).plays(silent)
    with devices(target, [1]) as (device,):
        device.say(HELLO)
        device.told("hello")


@contextmanager
def chat_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own; killed in the end, if it is not yet."""
    command = [sys.executable, "-m", "xzgw.tools.echo_server", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "it has not started"
            yield process
        finally:
            process.kill()


def server_killed(target: Target) -> None:
    """kill -9 of a chat server with sessions, which then starts again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    good = configuration(target).read_bytes()
    url = f"ws://127.0.0.1:{port}{PATH}"
    configure(
        target, json.dumps({**json.loads(good), "production": {"chat_servers": [url]}}).encode()
    )
    with devices(target, range(FEW)) as crowd:
        with chat_server(port) as server:
            for device in crowd:
                device.say(HELLO)
                device.told("hello")
            server.kill()
            for device in crowd:
                device.told("goodbye")
                device.say(HELLO)
                device.told("error")
        with chat_server(port):
            for device in crowd:
                device.say(HELLO)
                device.told("hello")
    configure(target, good)


def drained(target: Target) -> None:
    """SIGUSR1 in the middle of everything: who talks may go on, and nobody else comes in."""
    with flooded(target):
        target.canary.beats(5)
        target.gateway.send(signal.SIGUSR1)
        target.gateway.wait_for("draining: ")
        target.canary.beats(20)
        late = RawDevice(target.address, 99)
        with late.socket:
            code = late.log_in()
            assert code == UNAVAILABLE, code
        got = ask(target, b"GET /readyz HTTP/1.1\r\n" + LAST + b"\r\n")
        assert got == [503], got


FACED = (
    Case(
        "life: SIGHUP again and again, the configuration broken and good in turn",
        "the good ones are taken, the others told and dropped",
        reload_storm,
        lines=SIGNALS * 5,
    ),
    Case(
        "life: kill -9 of a chat server",
        "goodbye; error until it runs again, then sessions again",
        server_killed,
        lines=FEW * (2 * PER_SESSION + 2) + 20,
        rounds=1,
    ),
    Case(
        "life: drained while attacked",
        "who talks may go on; CONNACK 3 for who comes, and 503 at /readyz",
        drained,
        lines=5000,
        rounds=1,
    ),
)


# --- to the end of the process ---


def stop_in_time(target: Target) -> None:
    """SIGTERM, for a gateway whose canary talks."""
    faults = target.canary.check()
    assert not faults, faults
    started = time.monotonic()
    status = target.gateway.stop()
    took = time.monotonic() - started
    assert status == 0, status
    assert took < LONGEST_STOP, f"{took:.1f} s"
    assert "Server Shut Down." in target.gateway.log, "not in order"


def stopped_in_floods(target: Target) -> None:
    server_of(target).plays(torrent)
    with flooded(target):
        target.canary.beats(20)
        stop_in_time(target)


def stopped_with_all_stuck(target: Target) -> None:
    """Nobody finishes what he has begun: servers, callers, devices."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(target.connect()) for _ in range(CROWD)]
        for each in crowd:
            each.sendall(b"\x10\x7f\x00\x04MQ")
        beginnings = (OPEN, STATUS + b"Content-Length: 9\r\n\r\n{", b"GET /v1/events HTTP/1.1\r\n")
        for beginning in (*beginnings, (DEVICES + b"\r\n") * 2000):
            for _ in range(3):
                caller = stack.enter_context(call(target, 4096))
                caller.sendall(beginning + (TOKEN + b"\r\n") * (beginning is beginnings[2]))
        steps = silent_after(Peer.request), silent_after(Peer.upgrade)
        stack.enter_context(playing(target, lambda peer: steps[peer.number % 2](peer), FEW))
        assert eventually(lambda: server_of(target).reached >= FEW)
        stop_in_time(target)


def restarted(target: Target) -> None:
    """Killed or stopped, and started again at the same ports, while all devices come back."""
    server_of(target).plays(silent)
    old, path = target.gateway, configuration(target)
    settings = {
        **SETTINGS,
        "XZGW_MQTT": f"tcp:{old.mqtt_port}:interface=127.0.0.1:backlog=1000",
        "XZGW_UDP": f"127.0.0.1:{old.udp_port}",
        "XZGW_API": f"tcp:{old.api_port}:interface=127.0.0.1",
    }
    with TemporaryDirectory() as directory, ExitStack() as stack:
        for number, sent in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
            crowd = stack.enter_context(devices(Target(old, target.canary), range(FEW)))
            for device in crowd:
                device.say(HELLO)
                device.told("hello")
            status = old.stop(sent)
            assert status == (0 if sent == signal.SIGTERM else -sent), status
            new = Gateway(Path(directory) / str(number), settings, flags=("--config", str(path)))
            stack.callback(new.kill)
            assert new.mqtt_port == target.gateway.mqtt_port
            old = new
        got = ask(Target(old, target.canary), OPEN + LAST + b"\r\n")
        assert got == [200], got
        assert old.stop() == 0


ENDS = (
    Case(
        "life: SIGTERM during floods",
        f"exit status 0 within {LONGEST_STOP:g} s",
        stopped_in_floods,
    ),
    Case(
        "life: SIGTERM while nobody finishes what he has begun",
        "the same",
        stopped_with_all_stuck,
    ),
    Case(
        "life: killed or stopped, and started again at once",
        "it has its ports again, and everybody comes back",
        restarted,
    ),
)
