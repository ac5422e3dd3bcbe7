"""The tools that the simulated device offers: a few that real devices have."""

from __future__ import annotations

from xzgw.tools.device_mcp import Integer, String, Tool
from xzgw.wire import messages
from xzgw.wire.messages import Json


class Speaker:
    """A loudspeaker whose volume, 0 to 100, the tools tell and set."""

    def __init__(self) -> None:
        self.volume = 70

    def status(self, _arguments: Json) -> str:
        return messages.encode(
            {
                "audio_speaker": {"volume": self.volume},
                "battery": {"level": 88, "charging": False},
                "network": {"type": "wifi", "signal": "strong"},
            }
        ).decode()

    def set_volume(self, arguments: Json) -> str:
        self.volume = arguments["volume"]
        return "true"


def _done(_arguments: Json) -> str:
    return "true"


def usual_tools() -> list[Tool]:
    """A fresh device's tools, in the order in which it lists them."""
    speaker = Speaker()
    return [
        Tool(
            "self.get_device_status",
            "Tells the present state of speaker, battery and network.",
            speaker.status,
        ),
        Tool(
            "self.audio_speaker.set_volume",
            "Sets the volume of the speaker.",
            speaker.set_volume,
            {"volume": Integer(0, 100)},
        ),
        Tool(
            "self.remote_wakeup",
            "Wakes the device, e.g. for a call from another device.",
            _done,
            {"reason": String(), "action": String()},
        ),
        Tool("self.reboot", "Restarts the device.", _done, user_only=True),
    ]
