"""The gateway's configuration: one frozen value, put together from all sources by `load`.

`docs/configuration.md` lists every setting for operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from xzgw.core.sayings import Saying, row, say
from xzgw.core.start_checks import drawback
from xzgw.settings import table as settings
from xzgw.settings.addresses import Network
from xzgw.settings.authorities import Authorities, read_authorities
from xzgw.settings.checks import shown
from xzgw.settings.families import everywhere
from xzgw.settings.files import Unreadable
from xzgw.settings.groups import read_groups
from xzgw.settings.limits import LimitsConfig, read_limits
from xzgw.settings.sections import (
    McpClientConfig,
    WebhookConfig,
    read_mcp_client,
    read_webhooks,
)
from xzgw.settings.sources import Origin, Setting, Sources

T = TypeVar("T")

_COMMON_WORDS = ("test", "1234", "admin", "password", "qwerty", "xiaozhi")
_WANT_KEY = "the key that the OTA server signs device passwords with"


class ConfigError(Exception):
    """Configuration that cannot be used.

    Attributes:
        problems: one line per mistake, each with its place; at least one, none with a secret.
        warnings: the same for oddities, which may be what the mistakes come from.
    """

    def __init__(self, problems: Iterable[str], warnings: Iterable[Saying] = ()) -> None:
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured, checked.

    Attributes:
        production_servers, development_servers: ws:// and wss:// URLs, in the order given.
        development_macs: devices for the development servers; lower case, colons.
        server_weights: by URL, 1 to 100; 1 for those that are not in it.
        backend_check_seconds: how often servers are asked for a WebSocket; 0 for never.
        trusted_proxies: whose X-Forwarded-For the admin API believes.
        max_mqtt_payload_size: bytes of one PUBLISH payload.
        message_rate: messages a second that a device may send in the long run.
        message_burst: messages that it may send at once.
        probe_silent: ask silent devices for a sign of life, and close those that give none.
        diagnosis_alert: show on a device's screen what is wrong with its session.
        limits: how much to take on.
        publish_topic: the topic that devices publish on.
        allow_unsigned: let in two-part client ids, which carry no signature.
        public_ip: host or IP address told to devices; None for the one they connected to.
        public_udp_port: port told to devices; None for the one that is listened on.
        mqtt, api: Twisted server endpoint strings.
        udp_host: IP address to receive audio at, empty for all.
        udp_port: 0 for any free one.
        udp_socket: in place of both, a UDP socket that somebody else has opened: `fd:N`, `systemd`
            or `systemd:NAME`; empty to open one.
        signature_key: empty if there is none; then only unsigned devices can connect.
        server_secret: None to show servers the token that they take when they check none.
        metrics_token: what GET /metrics must be shown; None to answer this machine only.
        backend_ca: whom to believe about wss:// servers; None for the system's authorities.
        webhooks: who is told of events.
        source: the JSON file that was read.
    """

    production_servers: tuple[str, ...]
    development_servers: tuple[str, ...] = ()
    development_macs: frozenset[str] = frozenset()
    server_weights: Mapping[str, int] = field(default_factory=dict)
    backend_check_seconds: int = settings.BACKEND_CHECK_SECONDS.default
    trusted_proxies: tuple[Network, ...] = ()
    debug: bool = settings.DEBUG.default
    max_mqtt_payload_size: int = settings.MAX_PAYLOAD.default
    message_rate: int = settings.MESSAGE_RATE.default
    message_burst: int = settings.MESSAGE_BURST.default
    probe_silent: bool = settings.PROBE_SILENT.default
    diagnosis_alert: bool = settings.DIAGNOSIS_ALERT.default
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    mcp_client: McpClientConfig = field(default_factory=McpClientConfig)
    publish_topic: str = settings.PUBLISH_TOPIC.default
    allow_unsigned: bool = settings.ALLOW_UNSIGNED.default
    public_ip: str | None = None
    public_udp_port: int | None = None
    mqtt: tuple[str, ...] = field(default_factory=lambda: (everywhere(settings.MQTT_PORT.default),))
    api: str = field(default_factory=lambda: everywhere(settings.API_PORT.default))
    udp_host: str = ""
    udp_port: int = settings.UDP_PORT.default
    udp_socket: str = ""
    signature_key: str = field(default="", repr=False)
    server_secret: str | None = field(default=None, repr=False)
    metrics_token: str | None = field(default=None, repr=False)
    backend_ca: Authorities | None = None
    webhooks: tuple[WebhookConfig, ...] = ()
    source: Path | None = None

    @property
    def api_key(self) -> str:
        """What tokens of the admin API are made with; empty, so that none is good, if weak."""
        return "" if self.weak_key else self.signature_key

    @property
    def weak_key(self) -> Saying | None:
        """Why the admin API must stay closed: the signature key's weakness, or None."""
        return key_weakness(self.signature_key)

    @property
    def admin_api(self) -> bool:
        """Whether the admin API is opened."""
        return self.weak_key is None


def key_weakness(key: str) -> Saying | None:
    """What makes a signature key too easy to guess, without a hint at the key; None if nothing."""
    if not key:
        return say("key_missing")
    if len(key) < 8:
        return say("key_short")
    if not re.search("[a-z]", key) or not re.search("[A-Z]", key):
        return say("key_of_one_case")
    if any(word in key.lower() for word in _COMMON_WORDS):
        return say("key_common", words=", ".join(_COMMON_WORDS))
    return None


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], directory: Path
) -> tuple[Config, tuple[Saying, ...]]:
    """The configuration and one line per oddity in it. May be called again when a file changed.

    Args:
        flags: those given, by long name without dashes: a text, a list of texts, or True.
        environ: as `os.environ`; `.env` in the directory adds to it.
        directory: where relative paths start; absolute for an absolute `Config.source`.
    Raises:
        ConfigError: with all mistakes at once.
    """
    sources = Sources(settings.ALL, flags, environ, directory)
    _open_file(sources)
    config = _build(sources, directory)
    if sources.problems:
        raise ConfigError(sources.problems, sources.warnings)
    return config, tuple(sources.warnings)


def _build(sources: Sources, directory: Path) -> Config:
    value = sources.value
    groups = read_groups(sources)
    udp = _listener(sources, settings.UDP, settings.UDP_PORT, lambda p: ("", p))
    udp_host, udp_port = ("", 0) if isinstance(udp, str) else udp
    allow_unsigned = value(settings.ALLOW_UNSIGNED)
    return Config(
        production_servers=groups.production,
        development_servers=groups.development,
        development_macs=groups.development_macs,
        server_weights=groups.weights,
        backend_check_seconds=value(settings.BACKEND_CHECK_SECONDS),
        trusted_proxies=value(settings.TRUSTED_PROXIES),
        debug=value(settings.DEBUG),
        max_mqtt_payload_size=value(settings.MAX_PAYLOAD),
        message_rate=value(settings.MESSAGE_RATE),
        message_burst=value(settings.MESSAGE_BURST),
        probe_silent=value(settings.PROBE_SILENT),
        diagnosis_alert=value(settings.DIAGNOSIS_ALERT),
        limits=read_limits(sources),
        mcp_client=read_mcp_client(sources),
        publish_topic=value(settings.PUBLISH_TOPIC),
        allow_unsigned=allow_unsigned,
        public_ip=_public_ip(sources, udp_host),
        public_udp_port=value(settings.PUBLIC_UDP_PORT),
        mqtt=_listener(sources, settings.MQTT, settings.MQTT_PORT, lambda p: (everywhere(p),)),
        api=_listener(sources, settings.API, settings.API_PORT, everywhere),
        udp_host=udp_host,
        udp_port=udp_port,
        udp_socket=udp if isinstance(udp, str) else "",
        signature_key=_signature_key(sources, allow_unsigned),
        server_secret=value(settings.SERVER_SECRET),
        metrics_token=value(settings.METRICS_TOKEN),
        backend_ca=_backend_ca(sources, directory),
        webhooks=read_webhooks(sources),
        source=sources.path,
    )


def _open_file(sources: Sources) -> None:
    named = sources.find(settings.CONFIG)
    if named.value is None:
        sources.open_file(settings.DEFAULT_FILES)
    elif not sources.open_file([named.value]):
        sources.problems.append(
            f"{named.where}: found {shown(named.value)}, want a file that exists"
        )


def _listener(
    sources: Sources, exact: Setting[T], port: Setting[int], from_port: Callable[[int], T]
) -> T:
    """Where to listen: said exactly, unless a port alone comes from a stronger source."""
    said, number = sources.find(exact), sources.find(port)
    if said.origin is Origin.DEFAULT:
        return from_port(number.value)
    if said.origin <= number.origin:
        return said.value
    sources.warnings.append(say("other_setting", where=said.where, other=number.where))
    return from_port(number.value)


def _public_ip(sources: Sources, udp_host: str) -> str | None:
    """What devices are told; without it that is the only address that audio is received at."""
    found = sources.find(settings.PUBLIC_IP)
    told = found.value or udp_host
    if told and (why := drawback(told)) is not None:
        where = found.where if found.value else sources.find(settings.UDP).where
        address = say("told_address", where=where, address=shown(told))
        sources.warnings.append(row(address, why, say("devices_need")))
    return found.value


def _backend_ca(sources: Sources, directory: Path) -> Authorities | None:
    found = sources.find(settings.BACKEND_CA)
    if found.value is None:
        return None
    try:
        return read_authorities(directory, found.value)
    except Unreadable as problem:
        sources.problems.append(f"{found.where}: {problem}")
        return None


def _signature_key(sources: Sources, allow_unsigned: bool) -> str:
    found = sources.find(settings.SIGNATURE_KEY)
    weakness = key_weakness(found.value)
    if found.origin is Origin.DEFAULT and not allow_unsigned:
        sources.problems.append(f"{found.where}: found nothing, want {_WANT_KEY}")
    elif weakness is not None:
        at, end = say("at", where=found.where), say("no_admin_api")
        sources.warnings.append(row(at, weakness, end))
    return found.value
