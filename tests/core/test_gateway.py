"""The registry: who may come in, who is here, and the end of all."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import (
    CONFIG,
    CREDENTIALS,
    KEY,
    URL,
    Address,
    FakeBackendLink,
    FakeDeviceLink,
    Surroundings,
    Voice,
)
from xzgw.config import Config
from xzgw.core.channel import AudioChannel
from xzgw.core.device import Device
from xzgw.core.gateway import Gateway, Refused
from xzgw.core.session_types import Gone, Idle, Live
from xzgw.settings.sections import McpClientConfig
from xzgw.wire import credentials, messages
from xzgw.wire.audio import Cipher, server_audio
from xzgw.wire.packets import Connect

HELLO = b'{"type":"hello","version":3,"audio_params":{"frame_duration":60}}'
OPUS = bytes([0x58]) + bytes(40)  # 60 ms
LOCAL = "192.0.2.1"
UNSIGNED = "GID_test@@@a0_85_e3_f4_49_34"
TAKEN_OVER = "taken over by a new connection of the same client id"


def connect(number: int = 0, **changes: object) -> Connect:
    """The CONNECT of that device of the vectors, or one changed from it."""
    vector = CREDENTIALS[number]
    packet = Connect(
        client_id=vector["client_id"],
        username=vector["username"],
        password=vector["password"].encode(),
        keep_alive=240,
        clean_session=True,
        level=4,
        will=None,
    )
    return replace(packet, **changes)  # type: ignore[arg-type]


def signed(client_id: str, username: str = "e30=", key: str = KEY) -> Connect:
    """A CONNECT that whoever knows the key can make."""
    password = credentials.device_password(key, client_id, username).encode()
    return connect(client_id=client_id, username=username, password=password)


class GatewayTestCase(SynchronousTestCase):
    """A gateway, and everything that it stands on."""

    config = CONFIG

    def setUp(self) -> None:
        self.use(self.config)

    def tearDown(self) -> None:
        for device in list(self.gateway.devices.values()):
            self.gateway.leave(device, "lost")
        self.assertEqual(self.around.clock.getDelayedCalls(), [])
        self.assertEqual(self.around.services.channels, {})

    def use(self, config: Config) -> None:
        """Start over with this configuration."""
        self.around = Surroundings(config)
        self.gateway = Gateway(self.around.services)

    def admit(self, packet: Connect, ip: str = "1.2.3.4") -> tuple[Device, FakeDeviceLink]:
        """Let a device in; it and its connection."""
        link = FakeDeviceLink()
        return self.gateway.admit(packet, link, ip, LOCAL), link

    def refused(self, packet: Connect) -> tuple[int, str]:
        """The return code and reason of a CONNECT that is not let in."""
        error = self.assertRaises(Refused, self.admit, packet)
        return error.return_code, str(error)

    def start(self, device: Device, link: FakeDeviceLink, session_id: str) -> Voice:
        """Open a session."""
        device.received(HELLO)
        self.server.open()
        self.server.answers(session_id)
        return Voice(link.take()[-1])

    @property
    def server(self) -> FakeBackendLink:
        """The newest connection to a server."""
        return self.around.dialer.dials[-1]


class AdmitTests(GatewayTestCase):
    """Credentials."""

    def test_vectors(self) -> None:
        """Each device of the vectors is let in, with the identity that its id tells."""
        for number, vector in enumerate(CREDENTIALS):
            device, _ = self.admit(connect(number))
            identity = device.peer.identity
            expected = (vector["group"], vector["mac"], vector["uuid"])
            self.assertEqual((identity.group, identity.mac, identity.uuid), expected)
            self.assertIs(self.gateway.devices[vector["client_id"]], device)
        self.assertEqual(len(self.gateway.devices), len(CREDENTIALS))

    def test_malformed_id(self) -> None:
        """2, identifier rejected; a right password does not help."""
        ids = ["", "x", "@@@", "a@@@b@@@c", "a@@@a0_85_e3_f4_49_34@@@u@@@v"]
        ids += ["a@@@a0:85:e3:f4:49:34@@@u", "a@@@a0_85_e3_f4_49_34@@@", "a b@@@a0_85_e3_f4_49_34"]
        ids += ["a@@@a0_85_e3_f4_49_34@@@u\r\nX-Admin: 1"]
        for client_id in ids:
            self.assertEqual(self.refused(signed(client_id))[0], 2, client_id)
        self.assertEqual(self.gateway.devices, {})

    def test_wrong_password(self) -> None:
        """4, bad user name or password; whatever is wrong or missing."""
        right = connect()
        assert right.password is not None
        packets = [
            connect(password=None),
            connect(password=b""),
            connect(password=b"\xff\0"),
            connect(password=right.password + b"="),
            connect(password=right.password.lower()),
            connect(username=None),
            connect(username=CREDENTIALS[1]["username"]),
            connect(client_id=right.client_id + "0"),
            connect(client_id=CREDENTIALS[1]["client_id"]),
            signed(right.client_id, key=KEY + "x"),
        ]
        for packet in packets:
            code, reason = self.refused(packet)
            self.assertEqual(code, 4, packet)
            self.assertEqual(reason, "wrong password: is MQTT_SIGNATURE_KEY the OTA's key?")

    def test_odd_username(self) -> None:
        """4 for a username that is not base64 of a JSON object, though well signed."""
        for username in ("", "?", "MQ==", "eyJh"):
            code, reason = self.refused(signed(CREDENTIALS[0]["client_id"], username))
            self.assertEqual(code, 4, username)
            self.assertIn("username", reason)

    def test_unsigned(self) -> None:
        """5, not authorized, for the old form, unless it is allowed."""
        packet = connect(client_id=UNSIGNED, username=None, password=None)
        self.assertEqual(self.refused(packet)[0], 5)
        self.use(replace(CONFIG, allow_unsigned=True))
        device, _ = self.admit(packet)
        self.assertEqual(device.peer.identity.mac, "a0:85:e3:f4:49:34")
        self.assertFalse(device.peer.identity.signed)

    def test_signed_ids_are_checked_anyway(self) -> None:
        """allow_unsigned does not let in a wrong password."""
        self.use(replace(CONFIG, allow_unsigned=True))
        self.assertEqual(self.refused(connect(password=b"wrong"))[0], 4)

    def test_no_key(self) -> None:
        """Without a key no signature counts, not even one made with no key."""
        self.use(replace(CONFIG, allow_unsigned=True, signature_key=""))
        self.assertEqual(self.refused(signed(CREDENTIALS[0]["client_id"], key=""))[0], 4)

    def test_reasons_have_no_secrets(self) -> None:
        """No reason repeats a password, a username or the key."""
        packets = [connect(password=b"s3cret"), connect(client_id=UNSIGNED), signed("x")]
        packets += [signed(CREDENTIALS[0]["client_id"], "czNjcmV0")]
        said = "".join(self.refused(packet)[1] for packet in packets)
        for secret in ("s3cret", "czNjcmV0", KEY, connect().username or ""):
            self.assertNotIn(secret, said)

    def test_addresses(self) -> None:
        """IPv4 carried in IPv6 is shown in its own form, other addresses as they are."""
        for ip, shown in (
            ("::ffff:10.0.0.9", "10.0.0.9"),
            ("10.0.0.9", "10.0.0.9"),
            ("2001:db8::ffff", "2001:db8::ffff"),
        ):
            link = FakeDeviceLink()
            device = self.gateway.admit(connect(), link, ip, ip)
            self.assertEqual((device.peer.ip, device.peer.local_ip), (shown, shown))
            device.received(HELLO)
            self.assertEqual(self.server.headers["x-forwarded-for"], shown)


class TakeOverTests(GatewayTestCase):
    """The same client id connects again (MQTT-3.1.4-2)."""

    def test_take_over(self) -> None:
        """The old connection is closed, its session with it; the new one is the device."""
        old, old_link = self.admit(connect())
        self.start(old, old_link, "s1")
        new, new_link = self.admit(connect())
        self.assertEqual(old_link.closed, [TAKEN_OVER])
        self.assertEqual(old_link.take(), [])  # a goodbye would end the new session, too
        self.assertEqual(self.server.closed, [(1000, "device disconnected")])
        self.assertEqual(self.gateway.devices, {connect().client_id: new})
        self.assertEqual(self.around.services.channels, {})
        self.assertEqual(new_link.closed, [])

    def test_old_connection_ends_later(self) -> None:
        """When the old connection is at last lost, the new one stays and keeps its session."""
        old, _ = self.admit(connect())
        new, link = self.admit(connect())
        self.start(new, link, "s2")
        self.gateway.leave(old, "lost")
        self.assertIs(self.gateway.devices[connect().client_id], new)
        self.assertEqual(new.session.state, Live(1, "s2"))
        self.assertEqual(old.session.state, Gone())

    def test_refused_ones_take_nothing(self) -> None:
        """A connection with a wrong password does not close anybody's."""
        _, link = self.admit(connect())
        self.refused(connect(password=b"wrong"))
        self.assertEqual(link.closed, [])

    def test_other_ids_stay(self) -> None:
        """Another client id, be it of the same MAC, is another device."""
        _, link = self.admit(connect())
        self.admit(signed(connect().client_id + "0"))
        self.assertEqual(link.closed, [])
        self.assertEqual(len(self.gateway.devices), 2)


class TwoDevicesTests(GatewayTestCase):
    """Two devices at once never get each other's text or audio."""

    ADDRESSES: tuple[Address, Address] = (("1.2.3.4", 40000), ("5.6.7.8", 40000))

    def setUp(self) -> None:
        super().setUp()
        self.pairs = [
            self.admit(connect(number), ip) for number, (ip, _) in enumerate(self.ADDRESSES)
        ]
        # Both are reached before either is answered.
        for device, _ in self.pairs:
            device.received(HELLO)
        self.servers = list(self.around.dialer.dials)
        for server in self.servers:
            server.open()
        for number in (1, 0):
            self.servers[number].answers(f"s{number}")
        self.voices = [Voice(link.take()[-1]) for _, link in self.pairs]

    def hear(self, number: int, sequence: int) -> None:
        """That device says its own packet."""
        voice = self.voices[number]
        datagram = voice.cipher.seal(sequence, number, OPUS + bytes([number]))
        self.around.services.channels[voice.ssrc].receive(datagram, self.ADDRESSES[number])

    def test_texts(self) -> None:
        """Interleaved texts reach their own server and their own device only."""
        greetings = [list(server.texts) for server in self.servers]
        for turn in range(3):
            for number, (device, _) in enumerate(self.pairs):
                device.received(b'{"up":%d,"turn":%d}' % (number, turn))
                self.servers[number].says(b'{"down":%d,"turn":%d}' % (number, turn))
        for number, (_, link) in enumerate(self.pairs):
            up = [b'{"up":%d,"turn":%d}' % (number, turn) for turn in range(3)]
            down = [b'{"down":%d,"turn":%d}' % (number, turn) for turn in range(3)]
            self.assertEqual(self.servers[number].texts, greetings[number] + up)
            self.assertEqual(link.take(), down)

    def test_audio(self) -> None:
        """Interleaved audio does so, too, under different keys."""
        self.assertNotEqual(self.voices[0].key, self.voices[1].key)
        self.assertNotEqual(self.voices[0].ssrc, self.voices[1].ssrc)
        for sequence in (1, 2):
            for number in (0, 1):
                self.hear(number, sequence)
                down = OPUS + bytes([10 + number])
                self.servers[number].plays(server_audio(sequence, 60 * sequence, down))
        for number, address in enumerate(self.ADDRESSES):
            up = [(sequence, number, OPUS + bytes([number])) for sequence in (1, 2)]
            self.assertEqual(self.servers[number].audio, up)
            got = [d for d, to in self.around.voice.sent if to == address]
            down = OPUS + bytes([10 + number])
            self.assertEqual(
                [self.voices[number].cipher.open(d) for d in got], [(1, 60, down), (2, 120, down)]
            )
        self.assertEqual(len(self.around.voice.sent), 4)

    def test_foreign_key(self) -> None:
        """A device that uses the other's connection id with its own key is not believed."""
        key, ssrc = self.voices[1].key, self.voices[0].ssrc
        channel = self.around.services.channels[ssrc]
        assert isinstance(channel, AudioChannel)
        forger = Cipher(key, ssrc)
        for sequence in range(1, 50):
            channel.receive(forger.seal(sequence, 0, OPUS), self.ADDRESSES[1])
        self.assertEqual(self.servers[0].audio, [])
        self.assertIsNone(channel.address)

    def test_end_of_one(self) -> None:
        """One device's goodbye, new hello and loss leave the other's session alone."""
        (first, first_link), (second, second_link) = self.pairs
        first.received(b'{"type":"goodbye","session_id":"s0"}')
        self.start(first, first_link, "s2")
        self.gateway.leave(first, "lost")
        self.assertEqual(second.session.state, Live(1, "s1"))
        self.assertEqual(second_link.take(), [])
        self.assertEqual(self.servers[1].closed, [])
        self.hear(1, 1)
        self.assertEqual(len(self.servers[1].audio), 1)
        self.assertEqual(list(self.around.services.channels), [self.voices[1].ssrc])


class StopTests(GatewayTestCase):
    """The end of all."""

    def test_goodbyes(self) -> None:
        """Each open session gets a goodbye with its own id; each connection is closed."""
        pairs = [self.admit(connect(number)) for number in range(3)]
        for number in (0, 1):
            self.start(*pairs[number], f"s{number}")
        self.gateway.stop("stopping")
        published = [link.take() for _, link in pairs]
        expected = [[b'{"session_id":"s%d","type":"goodbye"}' % number] for number in (0, 1)]
        self.assertEqual(published, [*expected, []])
        self.assertEqual([link.closed for _, link in pairs], [["stopping"]] * 3)
        for dial in self.around.dialer.dials:
            self.assertEqual(dial.closed, [(1001, "stopping")])
        self.assertEqual(self.around.services.channels, {})

    def test_sessions_first(self) -> None:
        """All goodbyes are said before the first connection is closed: with very many of these the
        time that there is may not do for all.
        """
        pairs = [self.admit(connect(number)) for number in range(3)]
        self.start(*pairs[2], "s2")
        unsaid: list[bool] = []

        def close(reason: str) -> None:
            unsaid.append(pairs[2][1].published == [])

        for _, link in pairs:
            self.patch(link, "close", close)
        self.gateway.stop("stopping")
        self.assertEqual(unsaid, [False] * 3)

    def test_while_being_reached(self) -> None:
        """A device that waits for its server is told that none will answer."""
        device, link = self.admit(connect())
        device.received(HELLO)
        self.gateway.stop("stopping")
        self.assertEqual(link.take(), [b'{"type":"error","message":"stopping"}'])
        self.assertEqual(self.server.closed, [(1001, "stopping")])
        self.assertEqual(device.session.state, Idle())

    def test_nobody_let_in(self) -> None:
        """3, server unavailable, from then on."""
        self.gateway.stop("stopping")
        self.assertEqual(self.refused(connect())[0], 3)

    def test_connections_that_end_at_once(self) -> None:
        """Devices may leave while the others are still to be told."""
        gateway = self.gateway

        class Leaving(FakeDeviceLink):
            """A connection that is gone when close() returns."""

            device: Device

            def close(self, reason: str) -> None:
                super().close(reason)
                gateway.leave(self.device, "lost")

        links = [Leaving() for _ in CREDENTIALS]
        for number, link in enumerate(links):
            link.device = gateway.admit(connect(number), link, "1.2.3.4", LOCAL)
        gateway.stop("stopping")
        self.assertEqual([link.closed for link in links], [["stopping"]] * len(links))
        self.assertEqual(gateway.devices, {})


class ConfigureTests(GatewayTestCase):
    """A new configuration while devices are connected."""

    OTHER = "ws://b.example:8000/?from=mqtt_gateway"

    def test_new_servers(self) -> None:
        """Open sessions stay where they are; the next hello goes to the new server."""
        device, link = self.admit(connect())
        self.start(device, link, "s1")
        self.gateway.configure(replace(CONFIG, production_servers=(self.OTHER,), public_ip="h"))
        self.assertEqual(device.session.state, Live(1, "s1"))
        self.assertEqual(self.server.closed, [])
        device.received(HELLO)
        self.assertEqual([dial.url for dial in self.around.dialer.dials], [URL, self.OTHER])
        self.server.open()
        self.server.answers("s2")
        self.assertEqual(messages.parse(link.take()[-1])["udp"]["server"], "h")

    def test_development(self) -> None:
        """Devices on the list go to the development servers."""
        mac = CREDENTIALS[2]["mac"].lower()
        self.use(
            replace(CONFIG, development_servers=(self.OTHER,), development_macs=frozenset([mac]))
        )
        for number, url in ((0, URL), (2, self.OTHER)):
            device, _ = self.admit(connect(number))
            device.received(HELLO)
            self.assertEqual(self.server.url, url)

    def test_new_key(self) -> None:
        """Devices that connect later need the new key."""
        self.gateway.configure(replace(CONFIG, signature_key="An0ther-Key"))
        self.assertEqual(self.refused(connect())[0], 4)
        self.admit(signed(connect().client_id, key="An0ther-Key"))

    def test_new_mcp_client(self) -> None:
        """Devices that connect later are asked in the new name."""
        info = {"name": "renamed", "version": "9"}
        self.gateway.configure(replace(CONFIG, mcp_client=McpClientConfig(client_info=info)))
        device, link = self.admit(connect())
        device.start()
        [initialize] = link.take()
        self.assertEqual(messages.parse(initialize)["payload"]["params"]["clientInfo"], info)


class LogTests(GatewayTestCase):
    """What an operator reads."""

    config = replace(CONFIG, server_secret="Te1st12134", debug=True)

    def test_no_secrets(self) -> None:
        """A whole life, take-over and stop included, leaves no secret in any line or field."""
        with capturedLogs() as logs:
            device, link = self.admit(connect())
            device.start()
            voice = self.start(device, link, "s1")
            self.refused(connect(password=b"wr0ng-pass"))
            self.server.says("认证失败".encode())
            device, link = self.admit(connect())
            self.start(device, link, "s2")
            self.gateway.stop("stopping")
            self.gateway.leave(device, "lost")
        said = "\n".join(formatEvent(event) + repr(event) for event in logs)
        self.assertEqual(said.count("session end: "), 4)  # two, each as line and as format
        token = self.server.headers["authorization"].removeprefix("Bearer ")
        vector = CREDENTIALS[0]
        for secret in (
            *(voice.key.hex(), repr(voice.key)[2:-1], voice.nonce.hex(), token),
            *(vector["password"], vector["username"], KEY, "Te1st12134", "wr0ng-pass"),
        ):
            self.assertNotIn(secret, said)
