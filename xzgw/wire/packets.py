"""The MQTT control packets as values; their bytes are the business of `xzgw.wire.mqtt`.

Topics and client ids are str, payloads and passwords bytes. Packet ids are 1 to 65,535, and 0
means none (PUBLISH at QoS 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Will:
    """What a broker would publish in the client's name; part of CONNECT."""

    topic: str
    message: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Connect:
    """The client's first packet.

    keep_alive is in seconds, 0 for none; level is 3 (MQTT 3.1) or 4 (MQTT 3.1.1).
    """

    client_id: str
    username: str | None
    password: bytes | None = field(repr=False)  # a repr may end in a log
    keep_alive: int
    clean_session: bool
    level: int
    will: Will | None


@dataclass(frozen=True, slots=True)
class Connack:
    """The answer to CONNECT; return_code is 0 (accepted) to 5."""

    return_code: int
    session_present: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """A message, either way; packet_id is 0 exactly when qos is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0


@dataclass(frozen=True, slots=True)
class Puback:
    """Answers PUBLISH at QoS 1."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubrec:
    """Answers PUBLISH at QoS 2."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubrel:
    """Answers PUBREC."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pubcomp:
    """Answers PUBREL."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Subscribe:
    """filters: each topic filter with the QoS asked for; at least one."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Suback:
    """return_codes: one per filter, the QoS granted or 128 for a refusal."""

    packet_id: int
    return_codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """filters: at least one."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsuback:
    """Answers UNSUBSCRIBE."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Pingreq:
    """The client is alive."""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """Answers PINGREQ."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client leaves on purpose."""


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
)
