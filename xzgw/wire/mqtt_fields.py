"""The fields that MQTT packets are made of, and the error that ends a connection.

Reasons begin with the clause of MQTT 3.1.1 that was broken; MQTT-4.8.0-1 (close on any violation)
stands in where no other clause names the fault.
"""

from __future__ import annotations


class MqttError(Exception):
    """The peer broke the protocol or a limit: close the connection.

    str() is the reason, one line. return_code is what a server says in CONNACK before it closes,
    or None when it closes without a word.
    """

    def __init__(self, reason: str, return_code: int | None = None) -> None:
        super().__init__(reason)
        self.return_code = return_code


class Reader:
    """Takes fields off one packet's body; each raises MqttError when the body is too short."""

    __slots__ = ("_data", "_end", "_position", "name")

    def __init__(self, name: str, data: bytes, start: int, end: int) -> None:
        self.name = name
        self._data = data
        self._position = start
        self._end = end

    @property
    def at_end(self) -> bool:
        """Whether every byte was taken."""
        return self._position == self._end

    def _advance(self, count: int) -> int:
        start = self._position
        if start + count > self._end:
            raise MqttError(f"MQTT-4.8.0-1: {self.name} shorter than its fields")
        self._position = start + count
        return start

    def byte(self) -> int:
        """One byte."""
        return self._data[self._advance(1)]

    def uint16(self) -> int:
        """Two bytes, big-endian."""
        start = self._advance(2)
        return self._data[start] << 8 | self._data[start + 1]

    def packet_id(self) -> int:
        """1 to 65,535."""
        if not (packet_id := self.uint16()):
            raise MqttError(f"MQTT-2.3.1-1: {self.name} with packet id 0")  # MQTT-2.3.1-1
        return packet_id

    def binary(self) -> bytes:
        """Bytes behind a two-byte length."""
        length = self.uint16()
        start = self._advance(length)
        return self._data[start : start + length]

    def text(self) -> str:
        """UTF-8 behind a two-byte length; a leading U+FEFF is text, not a mark."""
        # MQTT-3.1.3-4, -3.1.3-10, -3.1.3-11, -3.3.2-1, -3.8.3-1, -3.10.3-1: these are UTF-8.
        try:
            text = self.binary().decode("utf-8")  # MQTT-1.5.3-3: this codec keeps the BOM
        except UnicodeDecodeError:  # MQTT-1.5.3-1, surrogates included
            raise MqttError(f"MQTT-1.5.3-1: {self.name} with ill-formed UTF-8") from None
        if "\0" in text:  # MQTT-1.5.3-2, MQTT-4.7.3-2
            raise MqttError(f"MQTT-1.5.3-2: {self.name} with U+0000 in a text")
        return text

    def topic(self) -> str:
        """A topic name."""
        topic = self._named()
        if "#" in topic or "+" in topic:  # MQTT-3.3.2-2, MQTT-4.7.1-1
            raise MqttError(f"MQTT-3.3.2-2: {self.name} with a wildcard in its topic name")
        return topic

    def filter(self) -> str:
        """A topic filter, its wildcards alone in their levels."""
        topic = self._named()
        if "#" in topic[:-1] or (topic.endswith("#") and topic[-2:] not in ("#", "/#")):
            raise MqttError(f"MQTT-4.7.1-2: {self.name} with a misplaced #")  # MQTT-4.7.1-2
        if "+" in topic and any("+" in level and level != "+" for level in topic.split("/")):
            raise MqttError(f"MQTT-4.7.1-3: {self.name} with a misplaced +")  # MQTT-4.7.1-3
        return topic

    def _named(self) -> str:
        if not (topic := self.text()):
            raise MqttError(f"MQTT-4.7.3-1: {self.name} with an empty topic")  # MQTT-4.7.3-1
        return topic

    def rest(self) -> bytes:
        """Whatever is left."""
        start, self._position = self._position, self._end
        return self._data[start : self._end]
