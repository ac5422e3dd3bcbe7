"""The registry of connected devices: who may come in, who is here, and the end of all.

One device is known by its client id; the same client id connecting again takes over.
"""

from __future__ import annotations

from twisted.logger import Logger

from xzgw.config import Config
from xzgw.core.device import Device
from xzgw.core.device_peer import Peer
from xzgw.core.ports import DeviceLink
from xzgw.core.services import Services
from xzgw.core.session_types import SessionEnded
from xzgw.wire import credentials
from xzgw.wire.packets import Connect

# CONNACK return codes, MQTT 3.1.1 table 3.1.
IDENTIFIER_REJECTED = 2
SERVER_UNAVAILABLE = 3
BAD_CREDENTIALS = 4
NOT_AUTHORIZED = 5


class Refused(Exception):
    """A CONNECT that is not let in. str() is the reason, for the log."""

    def __init__(self, return_code: int, reason: str) -> None:
        super().__init__(reason)
        self.return_code = return_code


class Gateway:
    """See the module's text."""

    _log = Logger()

    def __init__(self, services: Services) -> None:
        self.devices: dict[str, Device] = {}  # by client id
        self.services = services
        self._stopping = False
        self.configure(services.config)

    def configure(self, config: Config) -> None:
        """Take a configuration; open sessions stay as they are."""
        self.services.config = config
        self.services.backends.configure(
            config.production_servers, config.development_servers, config.development_macs
        )

    def admit(self, connect: Connect, link: DeviceLink, ip: str, local_ip: str) -> Device:
        """Check a device's credentials and let it in; an older connection of it is closed.

        Args:
            ip: the device's address; local_ip: ours that it connected to.
        Raises:
            Refused: with the CONNACK return code to send.
        """
        if self._stopping:
            raise Refused(SERVER_UNAVAILABLE, "the gateway is stopping")
        identity = self._authenticate(connect)
        old = self.devices.get(connect.client_id)
        if old is not None:  # MQTT-3.1.4-2
            old.disconnect("taken over by a new connection of the same client id")
            self.leave(old)
        peer = Peer(connect.client_id, identity, _short_ip(ip), _short_ip(local_ip))
        device = Device(peer, link, self.services)
        self.devices[connect.client_id] = device
        return device

    def leave(self, device: Device) -> None:
        """The device's connection is closed or given up; its session ends."""
        if self.devices.get(device.peer.client_id) is device:
            del self.devices[device.peer.client_id]
        device.lost()

    def stop(self, reason: str) -> None:
        """Say goodbye to every session and close every connection; nobody is let in any more."""
        self._stopping = True
        for device in list(self.devices.values()):
            device.feed(SessionEnded(reason))
            device.disconnect(reason)

    def _authenticate(self, connect: Connect) -> credentials.ClientId:
        config = self.services.config
        try:
            identity = credentials.parse_client_id(connect.client_id)
        except credentials.CredentialError as error:
            raise Refused(IDENTIFIER_REJECTED, str(error)) from None
        if not identity.signed:
            if not config.allow_unsigned:
                raise Refused(NOT_AUTHORIZED, "an unsigned client id (allow_unsigned is off)")
            return identity
        username, password = connect.username or "", connect.password or b""
        if not credentials.verify_password(
            config.signature_key, connect.client_id, username, password
        ):
            raise Refused(BAD_CREDENTIALS, "wrong password: is MQTT_SIGNATURE_KEY the OTA's key?")
        try:
            credentials.parse_username(username)
        except credentials.CredentialError as error:
            raise Refused(BAD_CREDENTIALS, str(error)) from None
        return identity


def _short_ip(ip: str) -> str:
    """An IPv4 address that IPv6 carries (::ffff:1.2.3.4) in its own form."""
    return ip.removeprefix("::ffff:") if "." in ip else ip
