"""What tests of the dashboard share: a gateway, devices, a browser, a way that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.protocols.portforward import ProxyFactory

from tests.api_support import HOST, ApiTestCase, today, token
from tests.external.browser import Browser

P = ParamSpec("P")
T = TypeVar("T")

CUT = "net::ERR_"  # how complaints begin of what a relay has cut


class DashboardTestCase(ApiTestCase):
    """A browser. Whatever a test does, its console is empty and it asks nobody but the gateway."""

    timeout = 90  # s; a fifth of it on a machine with nothing else to do
    browser: Browser
    expected: Collection[str] = ()  # what the browser may complain of

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.browser = await deferToThread(Browser, Path(self.mktemp()))
        self.addCleanup(deferToThread, self.browser.close)

    def start(self, **settings: str) -> None:
        """Start the gateway. The page is judged before it stops, or complains of that."""
        super().start(**settings)
        self.addCleanup(self._well_behaved)

    async def do(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Let the browser do something, while the devices go on."""
        result: T = await deferToThread(act, *args, **kwargs)
        return result

    async def enter(self) -> None:
        """Log in at a gateway."""
        self.start(TZ="UTC")
        await self.do(self.browser.enter, self.port, token(today()))

    async def until(self, what: str, look: Callable[[], object]) -> None:
        """Wait until a look at the page finds something true."""
        await self.do(self.browser.until, what, look)

    async def _well_behaved(self) -> None:
        self.assertEqual(await self.do(self.browser.strangers), [])
        self.assertGreater(len(self.browser.urls), 20)
        self.assertEqual(await self.do(self.browser.complaints, self.expected), [])


class Relay:
    """A way to the gateway that can be cut."""

    def __init__(self, test: DashboardTestCase) -> None:
        self.target = 0
        self._factory = _RelayFactory(self)
        listening: Any = reactor
        port = listening.listenTCP(0, self._factory, interface=HOST)
        test.addCleanup(self.cut)
        test.addCleanup(port.stopListening)
        self.port: int = port.getHost().port

    def cut(self) -> None:
        """End all connections at once."""
        for protocol in self._factory.protocols:
            protocol.transport.abortConnection()
        self._factory.protocols.clear()


class _RelayFactory(ProxyFactory):
    noisy = False

    def __init__(self, relay: Relay) -> None:
        super().__init__(HOST, 0)
        self.protocols: list[Any] = []
        self._relay = relay

    def buildProtocol(self, addr: Any) -> Any:
        self.port = self._relay.target
        protocol = super().buildProtocol(addr)
        self.protocols.append(protocol)
        return protocol
