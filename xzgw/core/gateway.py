"""The registry of connected devices: who may come in, who is here, and the end of all.

One device is known by its client id; the same client id connecting again takes over.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from xzgw.config import Config
from xzgw.core.calls import Calls
from xzgw.core.device import Device
from xzgw.core.device_peer import Peer
from xzgw.core.door import Presence
from xzgw.core.drain import Drain
from xzgw.core.limits import DRAINING
from xzgw.core.ports import DeviceLink
from xzgw.core.sayings import Saying, say
from xzgw.core.services import Services
from xzgw.core.session_types import SessionEnded
from xzgw.core.throttle import WrongAnswers
from xzgw.wire import credentials
from xzgw.wire.addresses import short_ip
from xzgw.wire.packets import Connect

# CONNACK return codes, MQTT 3.1.1 table 3.1.
IDENTIFIER_REJECTED = 2
SERVER_UNAVAILABLE = 3
BAD_CREDENTIALS = 4
NOT_AUTHORIZED = 5

BAD_CALLER = "wrong_token"
# What refusals are counted by: CONNECTs by the return code that they get.
REASONS = {
    IDENTIFIER_REJECTED: "bad_client_id",
    SERVER_UNAVAILABLE: "stopping",
    BAD_CREDENTIALS: "wrong_password",
    NOT_AUTHORIZED: "unsigned",
}


class Refused(Exception):
    """A CONNECT that is not let in. str() is the reason, for the log."""

    def __init__(self, return_code: int, reason: str) -> None:
        super().__init__(reason)
        self.return_code = return_code


class AtLimit(Refused):
    """There is no room for it; counted and logged already, for there may be very many."""

    def __init__(self, reason: str) -> None:
        super().__init__(SERVER_UNAVAILABLE, reason)


class Gateway:
    """See the module's text.

    Attributes:
        devices: by client id.
        refused_for: how many CONNECTs and API requests, by what they had to show.
    """

    _log = Logger()

    def __init__(self, services: Services) -> None:
        self.devices: dict[str, Device] = {}
        self.refused_for = dict.fromkeys((*REASONS.values(), BAD_CALLER), 0)
        self._by_mac: dict[str, list[Device]] = {}  # lower case; several may have one
        self.services = services
        self.calls = Calls(services.clock, self._find_mac, services.events)
        self.wrong_answers = WrongAnswers(services.clock.seconds)
        self.refusals = WrongAnswers(
            services.clock.seconds, "refusals", "further ones are counted, not told one by one"
        )
        self.strangers = WrongAnswers(
            services.clock.seconds,
            "connections that were no device's",
            "further ones are counted, not told one by one",
        )
        self._stopping = False
        self._drain = Drain(self.devices, services, self._let_go)
        self.configure(services.config)

    def configure(self, config: Config) -> None:
        """Take a configuration; open sessions stay as they are."""
        self.services.config = config
        self.services.limits.configure(config)
        self.services.backends.configure(
            config.production_servers,
            config.development_servers,
            config.development_macs,
            config.server_weights,
        )

    def admit(
        self, connect: Connect, link: DeviceLink, ip: str, local_ip: str, expected: bool = False
    ) -> Device:
        """Check a device's credentials and let it in; an older connection of it is closed.

        Args:
            ip: the device's address; local_ip: ours that it connected to.
            expected: whether it is let in even if a drain has begun.
        Raises:
            Refused: with the CONNACK return code to send.
        """
        if self._stopping:
            raise Refused(SERVER_UNAVAILABLE, "the gateway is stopping")
        identity = self._authenticate(connect)
        ip = short_ip(ip)
        old = self.devices.get(connect.client_id)
        full = self.services.limits.full(ip, old.peer.ip if old is not None else None, expected)
        if full is not None:
            raise AtLimit(full)
        if old is not None:  # MQTT-3.1.4-2
            reason = "taken over by a new connection of the same client id"
            old.disconnect(reason)
            self.leave(old, reason)
        peer = Peer(connect.client_id, identity, ip, short_ip(local_ip), connect.keep_alive)
        device = Device(peer, link, self.services, self.calls.left)
        self.devices[connect.client_id] = device
        self._by_mac.setdefault(identity.mac.lower(), []).append(device)
        self.services.limits.admitted(ip)
        self._drain.joined()
        self.services.events.publish("connect", client_id=connect.client_id, address=peer.ip)
        return device

    def refused(self, connect: Connect, ip: str, why: Refused) -> float:
        """A CONNECT was not let in; returns the seconds to wait before telling."""
        if isinstance(why, AtLimit):
            return 0.0
        address = short_ip(ip)
        self.refusals.note(address)
        self.refused_for[REASONS[why.return_code]] += 1
        self._tell_refused(address, str(why), connect.client_id[:200])
        return self.wrong_answers.note(address) if why.return_code == BAD_CREDENTIALS else 0.0

    def no_device(self, ip: str) -> bool:
        """A connection ended before it had a CONNECT to decide about; whether to tell of it."""
        address = short_ip(ip)
        self.strangers.note(address)
        return not self.strangers.over(address)

    def wrong_token(self, address: str) -> float:
        """The admin API was shown a wrong token; returns the seconds to wait before telling."""
        self.refusals.note(address)
        self.refused_for[BAD_CALLER] += 1
        self._tell_refused(address, "wrong token for the admin API")
        return self.wrong_answers.note(address)

    def _tell_refused(self, address: str, reason: str, client_id: str = "") -> None:
        """An event; but no flood of them, which would push all others out of the history."""
        if not self.refusals.over(address):
            self.services.events.publish(
                "refused", client_id=client_id, address=address, reason=reason
            )

    def leave(self, device: Device, reason: str) -> None:
        """The device's connection is closed or given up; its session ends."""
        if device.presence is Presence.GONE:
            return
        client_id = device.peer.client_id
        if self.devices.get(client_id) is device:
            del self.devices[client_id]
        self._strike(device)
        device.lost()
        self.services.limits.left(device.peer.ip)
        self.services.events.publish("disconnect", client_id=client_id, reason=reason)

    @property
    def stopping(self) -> bool:
        """Whether its end has begun."""
        return self._stopping

    def troubles(self) -> list[Saying]:
        """The reasons why new devices should not be sent here; none if all is well."""
        stopping = say("stopping") if self._stopping else None
        draining = DRAINING if self.services.limits.draining else None
        trouble = self.services.backends.trouble()
        return [reason for reason in (stopping, draining, trouble) if reason]

    def drain(self) -> None:
        """Let nobody in, open no sessions, and let go those who are here, little by little."""
        self._drain.start()

    def watch_drain(
        self, began: Callable[[], None] | None = None, over: Callable[[], None] | None = None
    ) -> None:
        """What to call when a drain begins, and when nobody is left."""
        self._drain.watch(began, over)

    def stop(self, reason: str) -> None:
        """Say goodbye to every session and close every connection; nobody is let in any more."""
        self._stopping = True
        self._drain.stop()
        devices = list(self.devices.values())
        for device in devices:  # first of all: there may be too many to close all of them in time
            device.feed(SessionEnded(reason))
        for device in devices:
            device.disconnect(reason)
        self.services.traces.stop()

    def _let_go(self, device: Device) -> None:
        device.feed(SessionEnded(DRAINING))
        device.disconnect(DRAINING)
        self.leave(device, DRAINING)

    def _find_mac(self, mac: str) -> Device | None:
        """The device with a MAC (lower case); of several, rather one with an open session."""
        having = self._by_mac.get(mac, [])
        live = [device for device in having if device.voice is not None]
        return next(iter(live or having), None)

    def _strike(self, device: Device) -> None:
        """Take it off the list of those with its MAC."""
        mac = device.peer.identity.mac.lower()
        having = self._by_mac[mac]
        having.remove(device)
        if not having:
            del self._by_mac[mac]

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
        if not config.signature_key or not credentials.verify_password(
            config.signature_key, connect.client_id, username, password
        ):
            raise Refused(BAD_CREDENTIALS, "wrong password: is MQTT_SIGNATURE_KEY the OTA's key?")
        try:
            credentials.parse_username(username)
        except credentials.CredentialError as error:
            raise Refused(BAD_CREDENTIALS, str(error)) from None
        return identity
