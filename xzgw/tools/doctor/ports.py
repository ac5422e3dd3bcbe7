"""Whether the gateway's ports are free on this machine, and whose they are if not."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from xzgw.config import Config
from xzgw.core.listening import parse_tls
from xzgw.tools.doctor import network
from xzgw.tools.doctor.report import Trouble
from xzgw.wire.mqtt import Decoder, MqttError, encode
from xzgw.wire.packets import Connack, Connect

API_TITLE = b'"xzgw admin API"'  # in the API's description
_LONGEST = 10_000  # bytes of an answer that are read

# No device's client id, which this gateway refuses with this code.
_NOBODY = Connect("doctor", None, None, 0, True, 4, None)
_BAD_CLIENT_ID = 2

_ADVICE = {
    errno.EADDRINUSE: (
        "Another program has this port: ss -lnp 'sport = :{port}' tells which. Stop it, or give"
        " the gateway another port."
    ),
    errno.EACCES: "Ports below 1024 are for root, or for those with CAP_NET_BIND_SERVICE.",
    errno.EADDRNOTAVAIL: "No interface of this machine has this address: leave it out.",
    errno.ENOENT: "The gateway does not start without this file: check its path.",
}
_OTHER = "The gateway would not start; it would say the same."


@dataclass(frozen=True, slots=True)
class Place:
    """One place to listen at.

    Attributes:
        name, text: what it is for, and as configured.
        host, port: where it can be reached from this machine; port 0 for unknown or any.
        ours: whether one of our gateways answers there, given host, port and s; blocks. None if
            that cannot be asked.
    """

    name: str
    text: str
    host: str
    port: int
    ours: Callable[[str, int, float], bool] | None


class Ports:
    """Tries to open each port, for a moment."""

    def __init__(self, reactor: Any, timeout: float, directory: Path) -> None:
        """Take s that a probe may take, and where relative paths start."""
        self._reactor = reactor
        self._timeout = timeout
        self._directory = directory

    async def look(self, config: Config) -> list[str | Trouble]:
        """What was found at each port: one line, or trouble."""
        tried = [(place, await self._try(place)) for place in places(config)]
        taken = [place for place, error in tried if _in_use(error)]
        ours = any([await self._ours(place) for place in taken])
        return [_finding(place, error, ours) for place, error in tried]

    async def _try(self, place: Place) -> OSError | str:
        """Why it cannot be opened, or how it was found."""
        if place.name == "audio":
            return _bind(place)
        inner, files = _unwrap(place.text)
        for file in files:
            try:
                (self._directory / file).read_bytes()
            except OSError as e:
                return e
        if not inner.startswith("tcp"):
            return "not tried: somebody else opens it"
        try:
            port = await serverFromString(self._reactor, inner).listen(_silent())
        except CannotListenError as e:
            return e.socketError if isinstance(e.socketError, OSError) else OSError(str(e))
        except (ValueError, TypeError) as e:
            return OSError(f"no endpoint: {e}")
        await port.stopListening()
        return "free"

    async def _ours(self, place: Place) -> bool:
        if place.ours is None or not place.port:
            return False
        call = partial(place.ours, place.host, place.port, self._timeout)
        try:
            return await network.in_thread(self._reactor, call, self._timeout)
        except (OSError, HTTPException, MqttError):
            return False


def places(config: Config) -> list[Place]:
    """All places that the gateway would listen at."""
    found = [Place("MQTT", text, *_target(text), speaks_mqtt) for text in config.mqtt]
    if config.udp_socket:
        found.append(Place("audio", config.udp_socket, "", 0, None))
    else:
        text = f"{config.udp_host or '*'}:{config.udp_port}/udp"
        found.append(Place("audio", text, config.udp_host, config.udp_port, None))
    if config.admin_api:
        found.append(Place("admin API", config.api, *_target(config.api), is_our_api))
    return found


def speaks_mqtt(host: str, port: int, seconds: float) -> bool:
    """Whether a gateway answers that refuses what is no device. Raises OSError, MqttError."""
    decoder = Decoder(1024)
    with socket.create_connection((host, port), seconds) as peer:
        peer.sendall(encode(_NOBODY))
        while data := peer.recv(4096):
            for packet in decoder.feed(data):
                return packet == Connack(_BAD_CLIENT_ID)
    return False


def is_our_api(host: str, port: int, seconds: float) -> bool:
    """Whether our admin API answers. Raises OSError, HTTPException."""
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/openapi.json"
    direct = build_opener(ProxyHandler({}))  # this machine is not reached through a proxy
    with direct.open(url, timeout=seconds) as answer:
        return API_TITLE in answer.read(_LONGEST)


def _finding(place: Place, found: OSError | str, ours: bool) -> str | Trouble:
    name = f"{place.name} at {place.text}"
    if isinstance(found, str):
        return f"{name}: {found}"
    if _in_use(found) and ours:
        return f"{name}: in use, by a gateway that runs here"
    advice = _ADVICE.get(found.errno or 0, _OTHER).format(port=place.port)
    return Trouble(f"{name}: {network.words(found)}", advice)


def _in_use(found: OSError | str) -> bool:
    return isinstance(found, OSError) and found.errno == errno.EADDRINUSE


def _bind(place: Place) -> OSError | str:
    if not place.host and not place.port:
        return (
            "any free port" if place.text.endswith("/udp") else "not tried: somebody else opens it"
        )
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((place.host, place.port))
        except OSError as e:
            return e
    return "free"


def _unwrap(text: str) -> tuple[str, list[str]]:
    """What is below PROXY and TLS, and the files that TLS needs."""
    kind, _, rest = text.partition(":")
    if kind == "haproxy":
        return _unwrap(rest)
    if kind == "ssl":
        tls = parse_tls(rest)
        inner, files = _unwrap(tls.inner)
        chain = [tls.chain] if tls.chain is not None else []
        return inner, [tls.private_key, tls.certificate, *chain, *files]
    return text, []


def _target(text: str) -> tuple[str, int]:
    """Host and port that reach an endpoint from this machine; port 0 if unknown."""
    inner, _ = _unwrap(text)
    if not inner.startswith("tcp"):
        return "", 0
    port = re.search(r":(?:port=)?([0-9]+)", inner)
    interface = re.search(r"interface=((?:\\.|[^\\:])+)", inner)
    host = re.sub(r"\\(.)", r"\1", interface[1]) if interface else ""
    return "127.0.0.1" if host in ("", "::", "0.0.0.0") else host, int(port[1]) if port else 0  # noqa: S104


def _silent() -> Factory[Protocol]:
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    return factory
