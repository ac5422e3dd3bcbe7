"""xzgw: the gateway between xiaozhi voice devices and a xiaozhi-server."""

__version__ = "0.1.0"
