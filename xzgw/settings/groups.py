"""The groups of chat servers, put together from all sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xzgw.core.sayings import say
from xzgw.settings import table as settings
from xzgw.settings.chat_servers import MEMBERS, ChatServer
from xzgw.settings.checks import shown
from xzgw.settings.sources import Found, Origin, Sources

# The server turns on the audio header for requests whose path ends with this.
SERVER_SUFFIX = "?from=mqtt_gateway"


@dataclass(frozen=True, slots=True)
class Groups:
    """Attributes: as in Config; `weights` only has those that are not 1."""

    production: tuple[str, ...]
    development: tuple[str, ...]
    development_macs: frozenset[str]
    weights: Mapping[str, int]


def read_groups(sources: Sources) -> Groups:
    """Read the lists; what is wrong or odd about them is noted in the sources."""
    production = sources.find(settings.CHAT_SERVERS)
    if production.origin is Origin.DEFAULT and not sources.broken:
        want = "a chat server there, in --chat-server or in CHAT_SERVERS"
        sources.problems.append(f"{production.where}: found nothing, want {want}")
    _note_suffix(sources, production.where, production.value)
    macs = frozenset(
        sources.value(settings.DEVELOPMENT_MACS) + sources.value(settings.DEVELOPMENT_MACS_RESPELT)
    )
    found = sources.find(settings.DEVELOPMENT_SERVERS)
    development = tuple(server for server in found.value if server is not None)
    if macs:
        _note_suffix(sources, found.where, development)
        if None in found.value:
            sources.warnings.append(say("placeholder", where=found.where))
        if not development:
            sources.warnings.append(say("no_development", where=found.where))
    weights: dict[str, int] = {}
    _take_weights(sources, production.where, production.value, weights)
    _take_weights(sources, found.where, development, weights)
    _note_unknown(sources, production)
    _note_unknown(sources, found)
    return Groups(
        tuple(dict.fromkeys(server.url for server in production.value)),
        tuple(dict.fromkeys(server.url for server in development)),
        macs,
        {url: weight for url, weight in weights.items() if weight != 1},
    )


def _note_suffix(sources: Sources, where: str, servers: Iterable[ChatServer]) -> None:
    sources.warnings += [
        say("no_suffix", where=where, server=shown(server.url))
        for server in servers
        if not server.url.endswith(SERVER_SUFFIX)
    ]


def _take_weights(
    sources: Sources, where: str, servers: Iterable[ChatServer], weights: dict[str, int]
) -> None:
    """Add these weights. A server is one, in whatever lists it stands: it has one weight."""
    for server in servers:
        known = weights.setdefault(server.url, server.weight)
        if known != server.weight:
            sources.problems.append(
                f"{where}: found weight {server.weight} for {shown(server.url)},"
                f" want the same as elsewhere, {known}"
            )


def _note_unknown(sources: Sources, found: Found[tuple[ChatServer | None, ...]]) -> None:
    file, _, key = found.where.rpartition(": ")
    for server in filter(None, found.value):
        for name in server.unknown:
            sources.note_unknown(file, f"{key}: {name}", name, MEMBERS)
