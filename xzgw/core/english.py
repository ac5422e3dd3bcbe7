"""All that is said by core.sayings, in English. `{name}` stands for the value of that name.

The same in Chinese: xzgw/admin/static/sayings_zh.js.
"""

from __future__ import annotations

from itertools import pairwise

_DIAGNOSIS = {
    "all_is_well": "all is well",
    "last_session": "in the session that ended {seconds} ago: ",
    "mqtt_gone": (
        "nothing from this device for {silent_seconds}, and no answer to an MCP ping {seconds} ago:"
        " it has lost its power or its network; wait for it to come back, and look at its Wi-Fi if"
        " this happens often"
    ),
    "wrong_topic": (
        "no hello from this device, which publishes on {topic}: messages are taken on publish_topic"
        " only; make that topic and the OTA's publish_topic the same"
    ),
    "bad_messages": (
        "no hello from this device, but {count} messages that are no JSON objects: its firmware has"
        " to speak the xiaozhi protocol, version 3 over MQTT and UDP"
    ),
    "bad_hello": (
        "the hello {seconds} ago was refused: {reason}: the firmware has to speak version 3, MQTT"
        " with audio over UDP; update it"
    ),
    "no_room": "the hello {seconds} ago was refused: {reason}: raise the limit, or add a gateway",
    "no_room_draining": (
        "the hello {seconds} ago was refused: the gateway is being drained: devices are let go, and"
        " find another gateway, or this one once it is started anew"
    ),
}

_SERVERS = {
    "no_server": (
        "the hello {seconds} ago found no chat server that takes sessions: all are being drained;"
        " resume one, or add one to chat_servers"
    ),
    "no_session": "no session for the hello {seconds} ago: ",
    "others_failed": " (the others failed, too: {others})",
    "server_unreachable": "{server} cannot be reached ({reason}): ",
    "server_unanswered": "{server} does not answer: ",
    "server_running": (
        "is the xiaozhi-server running, is this address right as seen from the gateway (in a"
        " container, 127.0.0.1 is the container itself), does a firewall let it through?"
    ),
    "server_certificate": (
        "is its certificate good for the host in this address, and its issuer in backend_ca, or"
        " else among those that this machine trusts? Is it ws:// after all?"
    ),
    "server_silent": (
        "{server} took our hello and did not answer ({reason}): is it still loading its models, or"
        " waiting for its console? Look at its log"
    ),
    "server_hung_up": "{server} hung up before its hello ({reason}): ",
    "server_hung_up_saying": "{server} hung up before its hello ({reason}, after saying {said}): ",
    "server_at_all": (
        "is it a xiaozhi-server, is the path right, does it take our token (SERVER_SECRET)? Look at"
        " its log"
    ),
    "token_refused": "{server} refuses our token (it says 认证失败): ",
    "token_refused_http": "{server} refuses our token (HTTP {status}): ",
    "compare_secret": (
        "compare SERVER_SECRET with the server's server.auth_key, and the clocks of both machines"
    ),
    "set_secret": (
        "compare SERVER_SECRET (none is set here) with the server's server.auth_key, and the clocks"
        " of both machines"
    ),
    "no_websocket": "{server} answers HTTP {status} in place of a WebSocket: ",
    "server_failing": "the server, or a proxy in front of it, is failing; look at its log",
    "server_path": (
        "is the path right, does the address end with ?from=mqtt_gateway, and does a proxy in"
        " front pass WebSockets on?"
    ),
    "server_reaction_asked": (
        "the device ended its speech or said its wake word {seconds} ago, and the server does not"
        " react (unless nobody has spoken): "
    ),
    "server_reaction_stream": (
        "audio flows to {server} for {seconds}, and the server does not react (unless nobody has"
        " spoken): "
    ),
    "server_hears": "is its speech recognition configured, does its model answer? Look at its log",
    "suffix_wanted": "its address in chat_servers has to end with ?from=mqtt_gateway; ",
    "headless_audio": "{count} binary messages of {server} have no audio header: ",
    "suffix_adds": "only with that the server adds one",
    "suffix_lost": (
        "does a proxy in front of it drop the address's end, is it a server that knows"
        " ?from=mqtt_gateway?"
    ),
    "mute_answer": (
        "subtitles but no sound: the server's answer (tts start to stop) has no audio: "
    ),
    "mute_since_start": ("the server began to answer {seconds} ago (tts start), without audio: "),
    "mute_since_speech": ("the server understood the speech {seconds} ago, but is silent since: "),
    "server_speaks": ("do its language model and its speech synthesis answer? Look at its log"),
    "given_up": "the device has given up waiting for audio, and the server has sent none: ",
    "no_tts_start": (
        "the server sent {count} packets of audio, but no tts start before: devices play audio only"
        " between tts start and stop; look at the server's log"
    ),
}

_AUDIO = {
    "udp_wrong_key": (
        "{count} datagrams of this session decrypt to nonsense: the device does not use the key and"
        " nonce of its latest hello reply, or does not send Opus of one channel in the frame"
        " duration of its hello; restart it, then look at its firmware"
    ),
    "udp_malformed": (
        "what arrives by UDP for this session is no audio packet ({reasons}): something on the way"
        " changes datagrams, or the firmware speaks another protocol"
    ),
    "udp_refused_since": (
        "the device began to listen {seconds} ago, and none of the {count} datagrams since then"
        " could be believed, though earlier ones were (refused so far: {reasons}): restart it, then"
        " look at its firmware"
    ),
    "udp_wrong_source": (
        "{count} datagrams of this session, but none could be believed: they come from other places"
        " than {address}, where this device's MQTT comes from, and never three in a row from one:"
        " is there a NAT, VPN or load balancer that spreads UDP over several addresses or ports?"
        " Let it keep one for each device"
    ),
    "udp_unknown": (
        "hello answered {seconds} ago, {count} datagrams came from {address} since, but none with"
        " this session's connection id: the device goes on with an older session, or they are"
        " another device's behind the same address; restart the device"
    ),
    "wrong_address": (
        "hello answered {seconds} ago, no UDP from this device: it was told to send audio to"
        " {host}, which "
    ),
    "address_private": "is a private address, while this device comes from {address}, outside",
    "set_public_ip": ": set PUBLIC_IP to the address that devices reach this machine at",
    "no_udp": "hello answered {seconds} ago, no UDP from this device: ",
    "audio_before_udp": (
        "subtitles but no sound: {count} packets of the server's audio wait, as no UDP came from"
        " this device in {seconds}, so nobody knows where to send them: "
    ),
    "udp_open": (
        "is {port}/udp open, is {host} reachable from it? If not, set PUBLIC_IP to one that is"
    ),
    "udp_timeout": (
        "the device reported that no audio reaches it, {count} packets were sent: do answers leave"
        " from {host}:{port}, the only place it takes them from, and does a firewall on its side"
        " let them in?"
    ),
    "device_silent": (
        "the device began to listen {seconds} ago, and sends no audio since, though it did before:"
        " is its microphone well, has its network changed, did a NAT forget its way to {port}/udp?"
        " Restart the device"
    ),
}

_CHECKS = {
    "mqtt_up": "connected from {address} for {seconds}",
    "no_session_open": "no session is open",
    "in_a_call": "in a call with another device",
    "hello_none": "the device has not asked for a session",
    "hello_came": "came {seconds} ago",
    "server_reached": "reached: {server}",
    "server_greeted": "reached",
    "server_reaching": "is being reached",
    "server_answered": "answered",
    "server_asked": "not answered yet",
    "audio_flows": "{count} packets of audio",
    "uplink_none": "no audio yet, {count} datagrams in {seconds}",
    "downlink_waits": "{count} packets wait for the device's first datagram",
    "downlink_none": "no audio yet",
    "playback_none": "no tts start yet",
    "playback_begun": "tts start",
    "playback_over": "tts start and stop",
}

_GATEWAY = {
    "stopping": "the gateway is stopping",
    "draining": "the gateway is being drained",
    "servers_failed": "every chat server has failed lately: ",
    "servers_left": "every chat server is draining or has failed lately: ",
    "server_draining": "{server}: draining",
    "server_failed": "{server}: {reason}",
    "next": "; ",
    "address_loopback": "is the loopback address, which no other machine reaches",
    "address_none": "is no address that one can send to",
    "address_many": "is the address of many machines, not of one",
    "address_link_local": "is a link-local address, which only neighbours on one cable reach",
    "address_docker": (
        "is in Docker's own network: a container's address, which no other machine reaches"
    ),
    "address_podman": (
        "is in Podman's own network: a container's address, which no other machine reaches"
    ),
    "told_address": "{where}: {address} ",
    "devices_need": "; devices need the address that they reach this machine at",
    "no_suffix": (
        "{where}: {server} does not end with ?from=mqtt_gateway, so there may be no audio"
    ),
    "small_buffer": (
        "the system grants a receive buffer of {granted} KiB for audio over UDP, {wished} KiB are"
        " wished: bursts of many devices may lose packets; sysctl -w net.core.rmem_max={bytes}"
        " raises the limit"
    ),
    "few_descriptors": (
        "{allowed} file descriptors are allowed, but {limits} come to {wanted}; in use is {values}:"
        " raise the hard limit (ulimit -Hn, LimitNOFILE=)"
    ),
    "certificate_expired": "certificate {path} has expired: clients will refuse it",
    "certificate_too_new": "certificate {path} is not valid yet: clients will refuse it",
    "certificate_expires": "certificate {path} expires on {day}: exchange it",
    "at": "{where}: ",
    "key_missing": "the key is not set",
    "key_short": "the key has less than 8 characters",
    "key_of_one_case": "the key lacks an upper-case or a lower-case letter",
    "key_common": "the key contains one of {words}",
    "no_admin_api": "; the admin API will not be started",
    "placeholder": "{where}: a placeholder is left out",
    "no_development": "{where}: none, so all devices use production",
    "other_setting": "{where}: not used, {other} takes its place",
    "bad_line": "{file}:{line}: ignored, not of the form NAME=value",
    "unknown_name": "{where}: {name}: ignored, not a known name",
    "misspelt_name": "; did you mean {name}?",
    "secret_in_file": "{where}: {name}: ignored here, set it in the environment",
}

_QUALITY = {
    "nothing_disturbs": "nothing disturbs it",
    "loss_up": "{value} of the audio from the device is missing",
    "loss_down": "{value} of the audio to the device is missing",
    "jitter_up": "audio from the device comes unevenly: jitter {value}",
    "jitter_down": "audio to the device comes unevenly: jitter {value}",
    "gaps_up": "audio from the device has gaps: {value} of the time",
    "gaps_down": "audio to the device has gaps: {value} of the time",
    "slow_answers": "answers take {value}",
}

TEXTS = {**_DIAGNOSIS, **_SERVERS, **_AUDIO, **_CHECKS, **_GATEWAY, **_QUALITY}

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(seconds: int) -> str:
    """A time as its two largest units: 3 d 4 h, 5 min 6 s."""
    for (size, unit), (part, smaller) in pairwise(_UNITS):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"
