"""The composition root: the one place where everything is made and wired together."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from xzgw import __version__
from xzgw.admin.app import AdminApp
from xzgw.admin.auth import Tokens
from xzgw.admin.event_stream import EventStream
from xzgw.admin.site import AdminSite
from xzgw.admin.webhook_post import poster
from xzgw.admin.webhooks import Webhooks
from xzgw.config import Config, load
from xzgw.core.backends import Backends
from xzgw.core.channel import AudioChannel
from xzgw.core.events import Events
from xzgw.core.gateway import Gateway
from xzgw.core.local_door import LocalDoor
from xzgw.core.services import Services
from xzgw.core.talk_time import TalkTime
from xzgw.net.backend import WebSocketDialer
from xzgw.net.device import DeviceFactory
from xzgw.net.services import ClosingService, DatagramService, StreamService
from xzgw.net.voice import VoiceProtocol
from xzgw.options import Options
from xzgw.reload import ConfigWatcher

__all__ = ["Options", "build", "makeService"]

STOPPING = "the gateway is stopping"

_log = Logger()


def makeService(options: Options) -> IService:
    """What `twistd xzgw` runs."""
    from twisted.internet import reactor

    config = options.config
    _log.info("xzgw {version}, configuration {path}", version=__version__, path=config.source)
    for warning in options.warnings:
        _log.warn("configuration: {it}", it=warning)
    service, configure = build(reactor, config, secrets.token_bytes)

    def load_again() -> tuple[Config, tuple[str, ...]]:
        return load(options.flags, options.environ, options.directory)

    ConfigWatcher(config, load_again, configure).service(reactor).setServiceParent(service)
    _stop_on_signals(reactor)
    reactor.callWhenRunning(_stop_on_signals, reactor)  # the reactor has set its own by then
    return service


def _stop_on_signals(reactor: Any) -> None:
    """Exit with status 0 when told to stop: twistd's own handlers would end with the signal."""

    def stop(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # stopping has its own time limit; once is enough
        reactor.callFromThread(_log.info, "{name}: stopping", name=signal.Signals(number).name)
        reactor.callFromThread(reactor.stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def build(
    reactor: Any, config: Config, entropy: Callable[[int], bytes]
) -> tuple[MultiService, Callable[[Config], None]]:
    """Make every object once.

    Args:
        reactor: TCP, UDP, time.
        entropy: that many random bytes.
    Returns:
        The service to start, and what to call with a new configuration.
    """
    channels: dict[int, AudioChannel] = {}
    events = Events(time.time, entropy(4).hex())
    voice = VoiceProtocol(channels)
    dialer = WebSocketDialer(reactor)
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
    )
    gateway = Gateway(services)
    devices = DeviceFactory(gateway, reactor)
    webhooks = Webhooks(events, reactor, poster(reactor), config.webhooks)

    def close_devices() -> Deferred[None]:
        gateway.stop(STOPPING)
        return devices.close_all(STOPPING)

    def configure(new: Config) -> None:
        gateway.configure(new)
        webhooks.configure(new.webhooks)

    root = MultiService()
    # Children stop in reverse: doors close before rooms empty.
    for child in (
        webhooks,
        DatagramService(reactor, "audio over UDP", voice, config.udp_host, config.udp_port),
        ClosingService(dialer.when_idle),
        StreamService(reactor, "MQTT", devices, config.mqtt, close_devices),
    ):
        child.setServiceParent(root)
    if config.weak_key:
        _log.warn("the admin API is not started: {why}", why=config.weak_key)
    else:
        _admin(reactor, gateway, config.api).setServiceParent(root)
    return root, configure


def _admin(reactor: Any, gateway: Gateway, endpoint: str) -> IService:
    services = gateway.services
    app = AdminApp(
        LocalDoor(gateway),
        EventStream(services.events, reactor),
        tokens=Tokens(lambda: services.config.signature_key, services.now),
        wrong=gateway.wrong_answers.note,
        ready=gateway.troubles,
        clock=reactor,
    )
    site = AdminSite(app, reactor)
    return StreamService(reactor, "admin API", site, (endpoint,), site.close_all)
