"""Makes `xzgw` known to twistd."""

from twisted.application.service import ServiceMaker

xzgw = ServiceMaker(
    "xzgw",
    "xzgw.tap",
    "Gateway between xiaozhi voice devices (MQTT, UDP) and a xiaozhi-server (WebSocket)",
    "xzgw",
)
