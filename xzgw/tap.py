"""The composition root: the one place where everything is made and wired together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from xzgw import __version__, signals
from xzgw.admin.app import AdminApp
from xzgw.admin.auth import Tokens
from xzgw.admin.event_stream import EventStream
from xzgw.admin.site import AdminSite, busy
from xzgw.admin.webhook_post import poster
from xzgw.admin.webhooks import Webhooks
from xzgw.config import Config, load
from xzgw.core import backend_check, liveness, rounds
from xzgw.core.backend_check import BackendCheck
from xzgw.core.backends import Backends
from xzgw.core.events import Events
from xzgw.core.gateway import Gateway
from xzgw.core.lag import Lag
from xzgw.core.liveness import Liveness
from xzgw.core.local_door import LocalDoor
from xzgw.core.ports import Receiver
from xzgw.core.sayings import Saying
from xzgw.core.services import Services
from xzgw.core.strays import Strays
from xzgw.core.talk_time import TalkTime
from xzgw.descriptors import fitted
from xzgw.net import tls
from xzgw.net.backend import WebSocketDialer
from xzgw.net.device_factory import DeviceFactory
from xzgw.net.endpoints import Endpoints
from xzgw.net.inherited import adopter
from xzgw.net.notify import Notifier, NotifyService
from xzgw.net.overflow import Overflow
from xzgw.net.proxy import ProxyFactory, Refusals
from xzgw.net.resolve import NamedEndpoint, Resolver
from xzgw.net.services import (
    ClosingService,
    DatagramService,
    SpanService,
    StreamService,
    regularly,
)
from xzgw.net.tls import ServerTls
from xzgw.net.trust import Trust
from xzgw.net.voice import VoiceProtocol
from xzgw.options import Options
from xzgw.process import prepare
from xzgw.reload import LOOK_EVERY, ConfigWatcher, Reading
from xzgw.settings.families import any_address
from xzgw.wire.mqtt import unavailable

__all__ = ["Options", "build", "makeService"]

STOPPING = "the gateway is stopping"
TOLD_DEVICES, TOLD_CALLERS = 256, 32  # at a time, that there is no room for them

_log = Logger()


def makeService(options: Options) -> IService:
    """What `twistd xzgw` runs."""
    from twisted.internet import reactor

    prepare(reactor)
    config, warnings = fitted(options.config, options.warnings)
    _log.info("xzgw {version}, configuration {path}", version=__version__, path=config.source)
    for warning in warnings:
        _log.warn("configuration: {it}", it=warning)
    gateway = build(reactor, config, secrets.token_bytes, warnings)

    def load_again() -> tuple[Config, tuple[Saying, ...]]:
        return fitted(*load(options.flags, options.environ, options.directory))

    watcher = ConfigWatcher(gateway.reading, load_again, gateway.configure)
    regularly(reactor, LOOK_EVERY, watcher.look).setServiceParent(gateway.service)
    manager = Notifier(options.environ)
    NotifyService(manager).setServiceParent(gateway.service)  # last: all ports are open by then

    def reload() -> None:
        _log.info("SIGHUP: reading certificates and configuration again")
        manager.reloading("reading certificates and configuration again")
        gateway.reload_certificates()
        watcher.look(force=True)
        manager.ready("serving")

    def drain() -> None:
        _log.info("SIGUSR1: draining")
        gateway.drain()

    gateway.watch_drain(partial(manager.status, "draining"), partial(manager.status, "drained"))
    signals.handle(reactor, reload, drain)
    return gateway.service


@dataclass(frozen=True, slots=True)
class Whole:
    """All of it.

    Attributes:
        service: to be started.
        configure: takes a new configuration.
        reload_certificates: reads those of our listeners from their files again.
        drain: lets devices go, little by little.
        watch_drain: takes what to call when that begins, and when nobody is left.
        reading: what is told of the configuration.
    """

    service: MultiService
    configure: Callable[[Config], None]
    reload_certificates: Callable[[], None]
    drain: Callable[[], None]
    watch_drain: Callable[[Callable[[], None], Callable[[], None]], None]
    reading: Reading


@dataclass(frozen=True, slots=True)
class _Core:
    """The gateway and the adapters that it uses."""

    gateway: Gateway
    voice: VoiceProtocol
    dialer: WebSocketDialer
    trust: Trust
    refusals: Refusals

    def advice(self) -> list[Saying]:
        """What could be better about the sockets."""
        return [self.voice.advice] if self.voice.advice else []

    def counted(self) -> dict[str, int]:
        """What the adapters have counted, for core.door.Status."""
        return {"refused_bad_proxy_header": self.refusals.total, **self.voice.counted()}


def build(
    reactor: Any,
    config: Config,
    entropy: Callable[[int], bytes],
    warnings: Sequence[Saying] = (),
) -> Whole:
    """Make every object once.

    Args:
        reactor: TCP, UDP, time.
        entropy: that many random bytes.
        warnings: what is odd about the configuration.
    """
    core = _core(reactor, config, entropy)
    gateway = core.gateway
    webhooks = Webhooks(gateway.services.events, reactor, poster(reactor), config.webhooks)
    endpoints = Endpoints(reactor, partial(ServerTls, clock=reactor, now=time.time))
    reading = Reading(config, time.time, warnings, lambda: [*core.advice(), *endpoints.advice()])

    def configure(new: Config) -> None:
        gateway.configure(new)
        webhooks.configure(new.webhooks)
        core.trust.load(_authorities(new))

    lag = Lag(reactor, time.monotonic)
    root = MultiService()
    measuring = SpanService(lag.start, lag.stop)
    for child in (webhooks, measuring, *_doors(reactor, core, config, endpoints)):
        child.setServiceParent(root)
    if config.weak_key:
        _log.warn("the admin API is not started: {why}", why=config.weak_key)
    else:
        _admin(reactor, core, config, reading, endpoints, lag).setServiceParent(root)
    return Whole(root, configure, endpoints.reload, gateway.drain, gateway.watch_drain, reading)


def _core(reactor: Any, config: Config, entropy: Callable[[int], bytes]) -> _Core:
    channels: dict[int, Receiver] = {}
    events = Events(time.time, entropy(4).hex())
    strays = Strays()
    voice = VoiceProtocol(channels, strays.note)
    trust = Trust(_authorities(config))
    endpoint = partial(NamedEndpoint, reactor, Resolver(reactor))
    dialer = WebSocketDialer(reactor, endpoint, trust, entropy)
    services = Services(
        config=config,
        clock=reactor,
        now=time.time,
        entropy=entropy,
        dial=dialer,
        voice=voice,
        backends=Backends(reactor.seconds, events),
        events=events,
        talk=TalkTime(time.time),
        channels=channels,
        strays=strays,
    )
    return _Core(Gateway(services), voice, dialer, trust, Refusals(reactor))


def _doors(reactor: Any, core: _Core, config: Config, endpoints: Endpoints) -> list[IService]:
    """What devices and servers come and go through; they close in reverse order."""
    gateway = core.gateway
    overflow = Overflow(reactor, unavailable, TOLD_DEVICES)
    devices = DeviceFactory(gateway, reactor, overflow.protocol)
    limits = gateway.services.limits
    refusals = core.refusals
    proxied = partial(ProxyFactory, clock=reactor, refusals=refusals, enter=limits.proxied)
    check = BackendCheck(gateway.services)

    def close_devices() -> Deferred[None]:
        gateway.stop(STOPPING)
        overflow.close()
        return devices.close_all(STOPPING)

    def close_dials() -> Deferred[None]:
        check.stop()
        return core.dialer.when_idle()

    mqtt = StreamService(
        partial(endpoints.make, proxied=proxied), "MQTT", devices, config.mqtt, close_devices
    )
    gateway.watch_drain(began=mqtt.leave_to_others)
    adopt = adopter(reactor, config.udp_socket)
    udp = config.udp_host or any_address(), config.udp_port
    return [
        regularly(reactor, liveness.LOOK_EVERY, Liveness(gateway, reactor).look),
        regularly(reactor, backend_check.LOOK_EVERY, check.look),
        regularly(reactor, rounds.LOOK_EVERY, gateway.services.rounds.look),
        regularly(reactor, tls.LOOK_EVERY, endpoints.look),
        # Before the streams: they may be at sockets handed over together with this one.
        DatagramService(reactor, "audio over UDP", core.voice, *udp, adopt),
        ClosingService(close_dials),
        mqtt,
    ]


def _admin(
    reactor: Any, core: _Core, config: Config, reading: Reading, endpoints: Endpoints, lag: Lag
) -> IService:
    gateway, services = core.gateway, core.gateway.services
    stream = EventStream(services.events, reactor)
    overflow = Overflow(reactor, busy, TOLD_CALLERS, linger=True)
    limits = services.limits
    proxied = partial(ProxyFactory, clock=reactor, refusals=core.refusals, enter=limits.calling)

    app = AdminApp(
        LocalDoor(gateway, __version__, core.counted, lambda: {"event_readers": stream.readers}),
        stream,
        tokens=Tokens(lambda: services.config.api_key, services.now),
        wrong=gateway.wrong_token,
        trusted=lambda: services.config.trusted_proxies,
        ready=gateway.troubles,
        configuration=reading.report,
        metrics_token=lambda: services.config.metrics_token,
        lag=lambda: lag.seen,
        clock=reactor,
    )
    site = AdminSite(app, reactor, limits, overflow.protocol)

    def close() -> Deferred[None]:
        stream.close()  # readers of events would stay
        overflow.close()
        return site.close_all()

    make = partial(endpoints.make, proxied=proxied)
    return StreamService(make, "admin API", site, (config.api,), close)


def _authorities(config: Config) -> bytes | None:
    return config.backend_ca.pem if config.backend_ca is not None else None
