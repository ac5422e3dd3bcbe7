"""The gateway's doors as Twisted services: they open with startService, and stopService returns a
Deferred that waits until everybody is really out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from twisted.application.internet import TimerService
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from xzgw.core.listening import is_handed_over

Adopt = Callable[[DatagramProtocol], IListeningPort]

TELL_EVERY = 60.0  # s between log lines about faults of the same kind
BACKLOG = 1024  # connections waiting to be accepted: all devices come back at once after a restart

_log = Logger()


class _Listener(Service):
    """Opens ports; one that cannot be opened ends the process with one line and status 1.

    twistd calls privilegedStartService first, as root if it was started so.
    """

    _log = Logger()

    def __init__(self, what: str) -> None:
        self.ports: list[IListeningPort] = []
        self._what = what

    def privilegedStartService(self) -> None:
        self._open()

    def startService(self) -> None:
        super().startService()
        self._open()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        ports, self.ports = self.ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def _open(self) -> None:
        if not self.ports:
            self._listen()

    def _listen(self) -> None:
        raise AssertionError("each kind of listener has its own ports")

    def _opened(self, port: IListeningPort) -> None:
        self.ports.append(port)
        self._log.info("{what} at {where}", what=self._what, where=_where(port))

    def _cannot(self, where: str, error: BaseException | None) -> NoReturn:
        reason = getattr(error, "socketError", None) or error
        text = getattr(reason, "strerror", None) or reason
        self._log.critical(
            "cannot listen for {what} at {where}: {text}", what=self._what, where=where, text=text
        )
        raise SystemExit(1)


class StreamService(_Listener):
    """One factory at one or more stream endpoints."""

    def __init__(
        self,
        make: Callable[[str], IStreamServerEndpoint],
        what: str,
        factory: IProtocolFactory,
        endpoints: Sequence[str],
        close: Callable[[], Deferred[Any]],
    ) -> None:
        """
        Args:
            make: makes an endpoint of a string.
            what: for the log, what is listened for.
            endpoints: server endpoint strings.
            close: shows those inside out; fires when they are gone.
        """
        super().__init__(what)
        self._make = make
        self._factory = factory
        self._endpoints = endpoints
        self._close = close
        self._shared: list[IListeningPort] = []  # at sockets that were handed over

    def stopService(self) -> Deferred[Any]:
        self._shared = []
        return DeferredList([super().stopService(), self._close()])

    def leave_to_others(self) -> None:
        """Accept nothing more at sockets that were handed over: whoever else listens there does,
        or will. At a port of our own nobody else would, so that stays open.
        """
        for port in self._shared:
            port.stopReading()  # type: ignore[attr-defined]  # all that can be handed over have it
            self._log.info(
                "{what} at {where}: accepting no more, others may listen there",
                what=self._what,
                where=_where(port),
            )

    def _listen(self) -> None:
        for endpoint in self._endpoints:
            self._listen_at(endpoint)

    def _listen_at(self, endpoint: str) -> None:
        try:
            listening = self._make(endpoint).listen(self._factory)
        except Exception as error:  # of any kind: strings name plugins, and files to be read
            self._cannot(endpoint, error)
        listening.addCallback(self._opened)
        listening.addCallback(
            lambda _: self._share() if is_handed_over(endpoint) else self._widen()
        )
        outcome: Any = getattr(listening, "result", None)  # Twisted's endpoints answer at once
        if isinstance(outcome, Failure):
            listening.addErrback(lambda _: None)
            self._cannot(endpoint, outcome.value)  # not in a callback, which would swallow the exit

    def _share(self) -> None:
        """Others have it, too, and have said how many may wait there."""
        self._shared.append(self.ports[-1])

    def _widen(self) -> None:
        """Let more connections wait to be accepted than Twisted's 50."""
        listener = getattr(self.ports[-1], "socket", None)
        if isinstance(listener, socket.socket):
            listener.listen(BACKLOG)


class DatagramService(_Listener):
    """One protocol at one UDP port."""

    def __init__(
        self,
        reactor: Any,
        what: str,
        protocol: DatagramProtocol,
        host: str,
        port: int,
        adopt: Adopt | None = None,
    ) -> None:
        """
        Args:
            host: an IP address of ours, or empty for all.
            port: 0 for any free one.
            adopt: in place of both, listens at a socket that was handed over.
        """
        super().__init__(what)
        self._reactor = reactor
        self._protocol = protocol
        self._host = host
        self._port = port
        self._adopt = adopt

    def _listen(self) -> None:
        if self._adopt is not None:
            self._opened(self._handed_over(self._adopt))
            return
        try:
            port = self._reactor.listenUDP(self._port, self._protocol, interface=self._host)
        except CannotListenError as error:
            self._cannot(f"udp {_place(self._host or '*', self._port)}", error)
        self._opened(port)

    def _handed_over(self, adopt: Adopt) -> IListeningPort:
        try:
            return adopt(self._protocol)
        except Exception as error:  # of any kind: what was handed over may be anything
            self._cannot("the socket that was handed over", error)


def _where(port: IListeningPort) -> str:
    address: Any = port.getHost()
    path: bytes | None = getattr(address, "name", None)  # of a UNIX socket
    return os.fsdecode(path) if path else _place(address.host, address.port)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def regularly(clock: IReactorTime, seconds: float, act: Callable[[], None]) -> IService:
    """Act when it starts, and every so many seconds from then on.

    A fault in one round is logged, but not that of each round; Twisted's loops would end with it,
    for as long as we run.
    """
    told_at = float("-inf")

    def guarded() -> None:
        nonlocal told_at
        try:
            act()
        except Exception:
            if clock.seconds() >= told_at + TELL_EVERY:
                told_at = clock.seconds()
                _log.failure("fault in what is done every {seconds:g} s", seconds=seconds)

    service = TimerService(seconds, guarded)
    service.clock = clock
    return service


class SpanService(Service):
    """Something without a door that runs as long as the rest."""

    def __init__(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self._start = start
        self._stop = stop

    def startService(self) -> None:
        super().startService()
        self._start()

    def stopService(self) -> None:
        super().stopService()
        self._stop()


class ClosingService(Service):
    """Something without a door of its own whose end must be waited for."""

    def __init__(self, when_closed: Callable[[], Deferred[Any]]) -> None:
        self._when_closed = when_closed

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return self._when_closed()
