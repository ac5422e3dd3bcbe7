"""The echo server at wss://, to be run with the path of a key and its certificate."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from tests.support import PATH
from xzgw.tools.echo_connection import EchoFactory, Settings
from xzgw.tools.narration import silent


def main(path: str) -> None:
    """Serve until the process is ended."""
    net: Any = reactor
    factory = EchoFactory(Settings(net, os.environ.get("SERVER_SECRET"), silent, 20.0, 180.0))
    tls = DefaultOpenSSLContextFactory(path, path)
    port = net.listenSSL(0, factory, tls, interface="127.0.0.1", backlog=1000)
    sys.stdout.write(f"wss://localhost:{port.getHost().port}{PATH}\n")
    sys.stdout.flush()
    net.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
