"""Parts of the configuration that have members of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xzgw.settings import table as settings
from xzgw.settings.sources import Sources
from xzgw.settings.webhooks import MEMBERS


@dataclass(frozen=True, slots=True)
class McpClientConfig:
    """How the gateway presents itself to devices as their MCP client.

    Attributes:
        capabilities, client_info: JSON objects for `initialize`, not to be changed.
        max_tools_count: no more tools of one device are kept.
    """

    capabilities: Mapping[str, Any] = field(
        default_factory=lambda: dict(settings.MCP_CAPABILITIES.default)
    )
    client_info: Mapping[str, Any] = field(
        default_factory=lambda: dict(settings.MCP_CLIENT_INFO.default)
    )
    max_tools_count: int = settings.MCP_MAX_TOOLS.default


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """One receiver of events.

    Attributes:
        url: http:// or https://, with a host; no two webhooks have the same.
        secret: what deliveries are signed with, None to sign none.
        events: the kinds it gets (xzgw.core.events.KINDS); empty for all.
    """

    url: str
    secret: str | None = field(default=None, repr=False)
    events: frozenset[str] = frozenset()


def read_mcp_client(sources: Sources) -> McpClientConfig:
    """The section `mcp_client` of the file; its client_info adds to ours."""
    return McpClientConfig(
        capabilities=dict(sources.value(settings.MCP_CAPABILITIES)),
        client_info={
            **settings.MCP_CLIENT_INFO.default,
            **sources.value(settings.MCP_CLIENT_INFO),
        },
        max_tools_count=sources.value(settings.MCP_MAX_TOOLS),
    )


def read_webhooks(sources: Sources) -> tuple[WebhookConfig, ...]:
    """The list `webhooks` of the file; members that mean nothing are warned of."""
    found = sources.find(settings.WEBHOOKS)
    file, _, key = found.where.rpartition(": ")
    for index, hook in enumerate(found.value):
        for name in hook.unknown:
            sources.note_unknown(file, f"{key}[{index}].{name}", name, MEMBERS)
    return tuple(WebhookConfig(hook.url, hook.secret, hook.events) for hook in found.value)
