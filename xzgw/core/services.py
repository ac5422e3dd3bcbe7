"""What every device needs of its surroundings, made once in tap.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from xzgw.config import Config
from xzgw.core.backends import Backends
from xzgw.core.events import Events
from xzgw.core.limits import Limits
from xzgw.core.lines import Lines
from xzgw.core.mcp import McpClient
from xzgw.core.ports import Dialer, Receiver, VoicePort
from xzgw.core.rounds import Rounds
from xzgw.core.strays import Strays
from xzgw.core.talk_time import TalkTime
from xzgw.core.tally import Tally
from xzgw.core.traces import Traces
from xzgw.wire import credentials


@dataclass(slots=True)
class Services:
    """Clock, randomness, adapters, and what devices share.

    Attributes:
        config: replaced as a whole when the configuration is read again.
        now: unix time, for tokens.
        entropy: that many random bytes.
        channels: the open audio channels, or who stands before them, by connection id.
        tally: what all sessions come to.
        limits: what is here, and whether more may come.
        traces: recordings of single devices.
        strays: datagrams for no open session.
        rounds: when to look for what is wrong, and with whom.
        lines: how much of it the log gets.
    """

    config: Config
    clock: IReactorTime
    now: Callable[[], float]
    entropy: Callable[[int], bytes]
    dial: Dialer
    voice: VoicePort
    backends: Backends
    events: Events
    talk: TalkTime
    channels: dict[int, Receiver] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    strays: Strays = field(default_factory=Strays)
    limits: Limits = field(init=False)
    traces: Traces = field(init=False)
    rounds: Rounds = field(init=False)
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits(self.clock.seconds, self.config)
        self.rounds = Rounds(self.clock.seconds)
        self.lines = Lines(self.clock.seconds)
        self.traces = Traces(self.clock, self.now, self.events, self.channels, self.voice)

    def mcp_client(self, send: Callable[[bytes], None]) -> McpClient:
        """An MCP client for one device, which `send` publishes to."""
        settings = self.config.mcp_client
        return McpClient(
            send,
            self.clock,
            capabilities=settings.capabilities,
            client_info=settings.client_info,
            max_tools_count=settings.max_tools_count,
            first_id=int.from_bytes(self.entropy(4), "big"),
        )

    def server_token(self, identity: credentials.ClientId) -> str:
        """What to show a chat server; the placeholder is what servers without a secret expect."""
        secret = self.config.server_secret
        if not secret:
            return "test-token"
        return credentials.server_token(secret, identity.uuid, identity.mac, int(self.now()))

    def new_ssrc(self) -> int:
        """A random connection id that no open channel has."""
        while True:
            ssrc = int.from_bytes(self.entropy(4), "big")
            if ssrc and ssrc not in self.channels:
                return ssrc

    def voice_address(self, local_ip: str) -> tuple[str, int]:
        """Where a device is told to send its audio.

        Args:
            local_ip: the address of ours that its MQTT connection arrived at, which is told
                unless another one is configured, or audio is received at another one only.
        """
        config = self.config
        host = config.public_ip or self.voice.host or local_ip
        return host, config.public_udp_port or self.voice.port
