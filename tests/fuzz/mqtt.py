"""MQTT: the decoder, and a whole connection behind it."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.harness import Harness, no_failure_logged, one_line, pack, spoiled, steps, streams
from tests.net.support import TOPIC, Bench, Tcp, credentials
from tests.wire.mqtt_examples import MAX_PAYLOAD, bytewise, outcome
from tests.wire.test_mqtt_properties import packets, wires
from xzgw.core.session_types import Gone
from xzgw.wire.mqtt import Decoder, encode, unavailable
from xzgw.wire.packets import Disconnect, Packet, Pingreq, Publish, Subscribe

OTHER_TOPIC = "devices/p2p/" + credentials(1).client_id.split("@@@")[1]
LIMITS = (MAX_PAYLOAD, 5, 0)


def decode(data: bytes) -> None:
    """Any bytes in any pieces: packets that can be written and read again, or one MqttError."""
    chunks = [chunk for _, chunk in steps(data)]
    whole = b"".join(chunks)
    assert unavailable(whole) in (None, b"", *(bytes((0x20, 2, 0, code)) for code in (1, 2, 3)))
    for limit in LIMITS:
        read, reason, code = outcome([whole], Decoder(limit))
        assert outcome(chunks, Decoder(limit)) == (read, reason, code)
        assert outcome(bytewise(whole), Decoder(limit)) == (read, reason, code)
        assert reason is None or one_line(reason)
        assert code in (None, 1, 2)
        for packet in read:
            assert not isinstance(packet, Publish) or len(packet.payload) <= limit
        assert outcome([b"".join(map(encode, read))], Decoder(limit)) == (read, None, None)


def converse(data: bytes) -> None:
    """A device that is let in sends any bytes in any pieces, to the same effect in one piece.

    The first step's number says whether it is let in, or has to say CONNECT by itself.
    """
    script = list(steps(data))
    known = bool(script and script[0][0] & 1)
    chunks = [chunk for _, chunk in script]
    with no_failure_logged():
        ends = [_run(known, pieces) for pieces in (chunks, [b"".join(chunks)])]
    assert ends[0] == ends[1]


def _run(known: bool, chunks: list[bytes]) -> tuple[bytes, bool, bool, list[int]]:
    bench = Bench()
    tcp = bench.device() if known else bench.connection()
    for chunk in chunks:
        if not tcp.aborted:  # a connection that is being closed may still bring bytes
            tcp.send_bytes(chunk)
    sent = tcp.transport.value()
    _check_sent(tcp)
    devices = list(bench.gateway.devices.values())
    taken = [*(device.intake.messages for device in devices), len(bench.dials)]
    tcp.lose()
    for dial in bench.dials:
        dial.lose("over")
    bench.clock.advance(60)
    limits = bench.gateway.services.limits
    assert bench.clock.getDelayedCalls() == []
    assert (limits.devices, limits.unauthenticated, limits.sessions) == (0, 0, 0)
    assert all(isinstance(device.session.state, Gone) for device in devices)
    assert bench.gateway.devices == {}
    return sent, tcp.closing, tcp.aborted, taken


def _check_sent(tcp: Tcp) -> None:
    topics = {packet.topic for packet in tcp.packets() if isinstance(packet, Publish)}
    assert topics <= {TOPIC} or topics <= {OTHER_TOPIC}


_of_a_device: st.SearchStrategy[Packet] = st.one_of(
    packets,
    st.sampled_from(
        [
            credentials(),
            credentials(1),
            Pingreq(),
            Disconnect(),
            Subscribe(1, ((TOPIC, 0), ("null", 1))),
            Publish("device-server", b'{"type":"hello","version":3}'),
            Publish("device-server", b'{"type":"goodbye"}', 2, packet_id=7),
            Publish("device-server", b'{"type":"listen","session_id":"s"}', 1, packet_id=7),
        ]
    ),
)
_conversations = st.lists(_of_a_device, max_size=6).map(
    lambda sent: b"".join(encode(packet) for packet in sent)
)


@st.composite
def _connections(draw: st.DrawFn) -> bytes:
    script = list(steps(draw(streams(spoiled(_conversations)))))
    known = draw(st.booleans())
    return pack((int(known), chunk) for _, chunk in script)


HARNESSES = (
    Harness("mqtt_decoder", decode, streams(wires)),
    Harness("mqtt_connection", converse, _connections()),
)
