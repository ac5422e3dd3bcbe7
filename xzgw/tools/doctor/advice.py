"""Cause and remedy, in plain sentences, for what can go wrong between a device and a session."""

from __future__ import annotations

import ssl
from ipaddress import ip_address

from xzgw.core.start_checks import drawback
from xzgw.tools.device_voice import Session
from xzgw.wire.messages import Json

HELLO_PATIENCE = 10.0  # s; firmware's

NAME = (
    "This machine's name server does not know the host. Check its spelling, try its IP address,"
    " or look whether the name has an A or AAAA record."
)
KEY = (
    "The gateway does not accept the signature: its MQTT_SIGNATURE_KEY is not the one that was"
    " used here. It has to be the same at the gateway and at the OTA endpoint (in the"
    " xiaozhi-server's console: server.mqtt_signature_key); look for blanks and quotes around it."
)
_REFUSED = {
    1: "The gateway takes neither MQTT 3.1.1, which was offered, nor, so, any device.",
    2: (
        "The gateway does not accept the client id. It wants GROUP@@@MAC_WITH_UNDERSCORES@@@UUID;"
        " a two-part id carries no signature and must be allowed there."
    ),
    3: (
        "The gateway does not serve this device now: it may be full, drained, stopping, or"
        " holding off an address that failed too often. Its log says which; try again later."
    ),
    4: KEY,
    5: KEY,
}
CREDENTIALS = (
    "The gateway does not accept the user name and password given here for this client id. They"
    " belong together: take all three from one answer of the OTA endpoint. If they do, the OTA"
    " endpoint signs with another MQTT_SIGNATURE_KEY than the gateway has."
)
CLOSED_EARLY = (
    "It took the TCP connection and closed it again. Either this is not the MQTT port, or it"
    " wants TLS (try --tls), or the gateway refuses by closing."
)
CLOSED_LATE = (
    "It said yes and hung up at once. Some gateways, among them the existing Node.js one, refuse"
    " a wrong signature in this way. " + KEY
)
SAYS_NOTHING = (
    "Something takes the connection but does not speak MQTT. Is this the MQTT port, not that of"
    " the API or of the chat server? If it wants TLS, try --tls."
)
NOT_MQTT = "Another program answers at this port: look at --host and --port."
NO_PINGRESP = "A device takes a connection without answers to its PINGREQ for dead."
MCP_LOST = (
    "The connection ended while the gateway asked for the device's tools. Its log should say why:"
    " a limit on the size of messages (max_mqtt_payload_size) is one cause."
)
HELLO_SILENT = (
    "The gateway took the hello and did not answer. Its chat server may be unreachable or silent,"
    " and the gateway slow to give up; look at its log and at chat_servers."
)
HELLO_ERROR = (
    "The gateway is well but cannot open a session. If no chat server answers: is the"
    " xiaozhi-server running, is its address in chat_servers right as seen from the gateway, does"
    " it end with ?from=mqtt_gateway, is SERVER_SECRET the server's own?"
)
HELLO_GOODBYE = (
    "The chat server ended the session at once. A wrong token is one cause: compare"
    " SERVER_SECRET with the server's auth_key."
)
REPLY = "No device can use such a reply; the gateway has to be corrected."
REPLY_NAME = (
    "The gateway tells devices a host name for audio that cannot be looked up here. Set"
    " PUBLIC_IP to an IP address, or to a name that exists."
)
SERVER_SILENT = (
    "The session is open, but the chat server answered neither speech nor text. Look at its log:"
    " is speech recognition configured, does the model answer? As nothing came back, this does"
    " not show whether {port}/udp is open."
)
SESSION_ENDED = (
    "The gateway or its chat server ended the session while the device spoke. The gateway's log"
    " says which; a server that cannot load its models, or that refuses the token, does so."
)
SPEECHLESS = (
    "The chat server understands, but does not speak: its language model or its speech synthesis"
    " does not answer. Look at the server's log."
)
DEAF = (
    "The chat server answers text, but heard no speech, and none of its audio came back: the"
    " datagrams do not arrive. Open {port}/udp in every firewall and security group on the way to"
    " {server}; where the gateway runs in a container, publish the port ({port}:{port}/udp)."
)
NO_DOWNLINK = (
    "The chat server speaks, but its audio did not arrive here. Either {port}/udp is closed on"
    " the way to {server}, so that the gateway does not know where to send it; or its answers"
    " come from another address or port than {server}:{port}, as behind some NATs and proxies, or"
    " a firewall on this side drops them."
)
BAD_DATAGRAMS = (
    "Audio comes back that no device plays: its header is not as the firmware wants it. The"
    " gateway has to be corrected, or something between changes datagrams."
)
NO_ASR = (
    "the chat server did not react to speech, only to text: is its speech recognition configured?"
)
NONSENSE = "what came back is no Opus of one channel once decrypted: key or nonce do not fit"
EMPTY_DATAGRAM = "A device's socket ends at an empty datagram; whoever sends it has to stop."
NOBODY_THERE = (
    "The machine at {server} says that nobody listens at {port}/udp. Compare PUBLIC_IP and"
    " PUBLIC_UDP_PORT with where the gateway really is; in a container, publish the port"
    " ({port}:{port}/udp)."
)
NO_ROUTE = "This machine cannot send to {server}: look at the address, routes and firewall here."
GOODBYE = (
    "The gateway dropped the connection at the goodbye. A device would connect anew for each"
    " conversation."
)
LOST = "The connection broke. The gateway's log should say why."


def tcp(error: OSError, port: int) -> str:
    """Why TCP may have failed."""
    if isinstance(error, ConnectionRefusedError):
        return (
            f"Nobody listens at {port}/tcp there. Is the gateway running, does it listen on this"
            " interface, is the port right? In a container, is the port published?"
        )
    if isinstance(error, TimeoutError):
        return (
            f"Nothing came back at all: a firewall drops {port}/tcp, or the machine is not there."
            " Open the port in the gateway's firewall and in the cloud's security group."
        )
    return "The network does not lead there: look at the address and at this machine's routes."


def tls(error: Exception) -> str:
    """Why a TLS handshake may have failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "Devices check the certificate like this: against the public authorities, and for the"
            " very host they were told. Give the gateway such a certificate with its whole chain;"
            " to trust an authority of your own here, use --ca."
        )
    if isinstance(error, TimeoutError):
        return "The port takes connections but does not answer TLS: is it the plain MQTT port?"
    return "The port does not speak TLS, or none that suits: try without --tls, or port 1883."


def refused(code: int, by_key: bool) -> str:
    """Why CONNACK may have said no; `by_key` tells whether the doctor signed the credentials."""
    return CREDENTIALS if code in (4, 5) and not by_key else _REFUSED[code]


def address_note(told: str, reached: str) -> str | None:
    """What is odd about the IP address told for audio, next to where MQTT was reached; or None."""
    why = drawback(told)
    ours, theirs = ip_address(reached), ip_address(told)
    if why is not None:
        if ours.is_loopback or told == reached:
            end = (
                "it works on this machine only; look again from where devices are, and set"
                " PUBLIC_IP if the same is advertised there"
            )
        else:
            end = f"set PUBLIC_IP to where devices reach the gateway, such as {reached}"
        return f"the gateway advertises {told}, which {why}: {end}"
    if told == reached or ours.is_loopback:
        return None
    if theirs.is_private and not ours.is_private:
        return (
            f"the gateway advertises {told}, a private address, and MQTT was reached at {reached}:"
            " devices outside cannot send audio there; set PUBLIC_IP"
        )
    return (
        f"the gateway advertises {told} for audio, and MQTT was reached at {reached}: fine only if"
        " both lead to it"
    )


def odd(reply: Json, session: Session) -> list[str]:
    """What is odd in a hello reply that a device can use, a clause each."""
    found = []
    udp = reply["udp"]
    if (encryption := udp.get("encryption")) != "aes-128-ctr":
        found.append(f"the reply's encryption is {encryption!r}, not 'aes-128-ctr'")
    if reply.get("version") != 3:
        found.append(f"the reply's version is {reply.get('version')!r}, not 3")
    if any(session.nonce[place] for place in (2, 3, *range(8, 16))):
        found.append("the reply's nonce is not zero in length, timestamp and sequence")
    return found + _odd_audio(reply.get("audio_params"))


def _odd_audio(params: object) -> list[str]:
    if not isinstance(params, dict):
        return ["the reply has no audio_params; devices then guess the sound's rate"]
    wanted: dict[str, tuple[object, ...]] = {
        "format": ("opus",),
        "sample_rate": (8000, 12000, 16000, 24000, 48000),
        "channels": (1,),
        "frame_duration": (20, 40, 60, 80, 100, 120),
    }
    return [
        f"the reply's audio_params.{name} is {params.get(name)!r}"
        for name, fit in wanted.items()
        if params.get(name) not in fit
    ]
