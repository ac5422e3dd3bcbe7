"""A few seconds of real speech, as a device's microphone gives it."""

from __future__ import annotations

import json
from importlib import resources


def packets() -> list[bytes]:
    """64 Opus packets of 60 ms, 16 kHz, mono."""
    text = resources.files("xzgw.tools").joinpath("speech_opus_16k_60ms.json").read_text("ascii")
    return [bytes.fromhex(packet) for packet in json.loads(text)]
