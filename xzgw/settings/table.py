"""Every setting: its name in each source (JSON file, flags, environment) and its default.

`docs/configuration.md` explains them to operators. Secrets have no key and no flag: files of
settings are shown around, and argv is visible to everybody on the machine. The exception are those
of webhooks, of which there may be many.
"""

from __future__ import annotations

from typing import Any

from xzgw.settings import addresses as addresses
from xzgw.settings import chat_servers as chat_servers
from xzgw.settings import checks as checks
from xzgw.settings import limits as limits
from xzgw.settings import webhooks as webhooks
from xzgw.settings.addresses import Network
from xzgw.settings.chat_servers import ChatServer
from xzgw.settings.checks import Kind
from xzgw.settings.sources import Setting
from xzgw.settings.webhooks import Webhook

DEFAULT_FILES = ("etc/xzgw.json", "config/mqtt.json")

_BOOLEAN = Kind(checks.boolean, checks.read_boolean)
_PORT = Kind(checks.number(0, 65535), checks.read_number)
_PUBLIC_PORT = Kind(checks.number(1, 65535), checks.read_number)
_PAYLOAD = Kind(checks.number(256, 16 * 1024 * 1024), checks.read_number)
_COUNT = Kind(checks.number(1, 100_000))
_TOPIC = Kind(addresses.topic)
_HOST = Kind(addresses.public_host)
_PATH = Kind(checks.text("the path of a JSON file"))
_CA_PATH = Kind(checks.text("the path of a PEM file"))
_SECRET = Kind(checks.secret)
_TOKEN = Kind(checks.token)
_ENDPOINT = Kind(addresses.endpoint)
_ENDPOINTS = Kind(checks.many(addresses.endpoint, least=1), str.split)
_UDP = Kind(addresses.udp_place)
_SERVERS = Kind(checks.many(chat_servers.chat_server, least=1), chat_servers.read_list)
_OTHER_SERVERS = Kind(checks.many(chat_servers.chat_server_or_none))
_NETWORKS = Kind(checks.many(addresses.network), str.split)
_CHECK_SECONDS = Kind(checks.number(0, 3600), checks.read_number)
_MACS = Kind(checks.many(addresses.mac))
_OBJECT = Kind(checks.json_object)
_CLIENT_INFO = Kind(checks.client_info)
_RATE = Kind(checks.number(1, 100_000), checks.read_number)
_BURST = Kind(checks.number(1, 1_000_000), checks.read_number)
_WEBHOOKS = Kind(webhooks.webhooks)

CONFIG: Setting[str | None] = Setting("", _PATH, None, "config", ("XZGW_CONFIG",))

CHAT_SERVERS: Setting[tuple[ChatServer, ...]] = Setting(
    "production.chat_servers", _SERVERS, (), "chat-server", ("CHAT_SERVERS",)
)
DEVELOPMENT_SERVERS: Setting[tuple[ChatServer | None, ...]] = Setting(
    "development.chat_servers", _OTHER_SERVERS, ()
)
# The spelling with three s is the one in use.
DEVELOPMENT_MACS: Setting[tuple[str, ...]] = Setting("development.mac_addresss", _MACS, ())
DEVELOPMENT_MACS_RESPELT: Setting[tuple[str, ...]] = Setting("development.mac_addresses", _MACS, ())

MQTT: Setting[tuple[str, ...]] = Setting("mqtt", _ENDPOINTS, (), "mqtt", ("XZGW_MQTT",))
API: Setting[str] = Setting("api", _ENDPOINT, "", "api", ("XZGW_API",))
UDP: Setting[tuple[str, int] | str] = Setting("udp", _UDP, ("", 0), "udp", ("XZGW_UDP",))
MQTT_PORT = Setting("mqtt_port", _PORT, 1883, "mqtt-port", ("MQTT_PORT",))
API_PORT = Setting("api_port", _PORT, 8007, "api-port", ("API_PORT", "PORT"))
UDP_PORT = Setting("udp_port", _PORT, 8884, "udp-port", ("UDP_PORT",))
PUBLIC_IP: Setting[str | None] = Setting("public_ip", _HOST, None, "public-ip", ("PUBLIC_IP",))
PUBLIC_UDP_PORT: Setting[int | None] = Setting(
    "public_udp_port", _PUBLIC_PORT, None, "public-udp-port", ("PUBLIC_UDP_PORT",)
)

SIGNATURE_KEY = Setting("", _SECRET, "", variables=("MQTT_SIGNATURE_KEY",))
SERVER_SECRET: Setting[str | None] = Setting("", _SECRET, None, variables=("SERVER_SECRET",))
METRICS_TOKEN: Setting[str | None] = Setting("", _TOKEN, None, variables=("METRICS_TOKEN",))
ALLOW_UNSIGNED = Setting(
    "allow_unsigned", _BOOLEAN, False, "allow-unsigned", ("XZGW_ALLOW_UNSIGNED",)
)
PUBLISH_TOPIC = Setting(
    "publish_topic", _TOPIC, "device-server", "publish-topic", ("XZGW_PUBLISH_TOPIC",)
)
MAX_PAYLOAD = Setting(
    "max_mqtt_payload_size",
    _PAYLOAD,
    1024 * 1024,
    "max-mqtt-payload-size",
    ("XZGW_MAX_MQTT_PAYLOAD_SIZE",),
)
MESSAGE_RATE = Setting("message_rate", _RATE, 100, "message-rate", ("XZGW_MESSAGE_RATE",))
MESSAGE_BURST = Setting("message_burst", _BURST, 1000, "message-burst", ("XZGW_MESSAGE_BURST",))
DEBUG = Setting("debug", _BOOLEAN, False, "debug", ("XZGW_DEBUG",))
PROBE_SILENT = Setting("probe_silent", _BOOLEAN, True, variables=("XZGW_PROBE_SILENT",))
DIAGNOSIS_ALERT = Setting("diagnosis_alert", _BOOLEAN, False, variables=("XZGW_DIAGNOSIS_ALERT",))

MCP_CAPABILITIES: Setting[dict[str, Any]] = Setting("mcp_client.capabilities", _OBJECT, {})
MCP_CLIENT_INFO: Setting[dict[str, Any]] = Setting(
    "mcp_client.client_info",
    _CLIENT_INFO,
    {"name": "xiaozhi-mqtt-client", "version": "1.0.0"},
)
MCP_MAX_TOOLS = Setting("mcp_client.max_tools_count", _COUNT, 128)

BACKEND_CA: Setting[str | None] = Setting(
    "backend_ca", _CA_PATH, None, "backend-ca", ("XZGW_BACKEND_CA",)
)
BACKEND_CHECK_SECONDS = Setting(
    "backend_check_seconds", _CHECK_SECONDS, 0, variables=("XZGW_BACKEND_CHECK_SECONDS",)
)
TRUSTED_PROXIES: Setting[tuple[Network, ...]] = Setting(
    "trusted_proxies", _NETWORKS, (), variables=("XZGW_TRUSTED_PROXIES",)
)
WEBHOOKS: Setting[tuple[Webhook, ...]] = Setting("webhooks", _WEBHOOKS, ())

ALL: tuple[Setting[Any], ...] = (
    CONFIG,
    CHAT_SERVERS,
    DEVELOPMENT_SERVERS,
    DEVELOPMENT_MACS,
    DEVELOPMENT_MACS_RESPELT,
    MQTT,
    API,
    UDP,
    MQTT_PORT,
    API_PORT,
    UDP_PORT,
    PUBLIC_IP,
    PUBLIC_UDP_PORT,
    SIGNATURE_KEY,
    SERVER_SECRET,
    METRICS_TOKEN,
    ALLOW_UNSIGNED,
    PUBLISH_TOPIC,
    MAX_PAYLOAD,
    MESSAGE_RATE,
    MESSAGE_BURST,
    DEBUG,
    PROBE_SILENT,
    DIAGNOSIS_ALERT,
    *limits.ALL,
    MCP_CAPABILITIES,
    MCP_CLIENT_INFO,
    MCP_MAX_TOOLS,
    BACKEND_CA,
    BACKEND_CHECK_SECONDS,
    TRUSTED_PROXIES,
    WEBHOOKS,
)
