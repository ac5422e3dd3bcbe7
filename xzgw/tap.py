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
from xzgw.config import Config, load
from xzgw.core.backends import Backends
from xzgw.core.channel import AudioChannel
from xzgw.core.events import Events
from xzgw.core.gateway import Gateway
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
        _log.warn("configuration: {warning}", warning=warning)
    service, gateway = build(reactor, config, secrets.token_bytes)

    def load_again() -> tuple[Config, tuple[str, ...]]:
        return load(options.flags, options.environ, options.directory)

    ConfigWatcher(config, load_again, gateway.configure).service(reactor).setServiceParent(service)
    reactor.callWhenRunning(_stop_on_signals, reactor)
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
) -> tuple[MultiService, Gateway]:
    """Make every object once.

    Args:
        reactor: TCP, UDP, time.
        entropy: that many random bytes.
    Returns:
        The service to start, and the gateway in it.
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

    def close_devices() -> Deferred[None]:
        gateway.stop(STOPPING)
        return devices.close_all(STOPPING)

    root = MultiService()
    # Children stop in reverse: doors close before rooms empty.
    for child in (
        DatagramService(reactor, "audio over UDP", voice, config.udp_host, config.udp_port),
        ClosingService(dialer.when_idle),
        StreamService(reactor, "MQTT", devices, config.mqtt, close_devices),
    ):
        child.setServiceParent(root)
    return root, gateway
