"""With `debug`, one line per message: never its content, which may hold tokens."""

from __future__ import annotations

from twisted.logger import Logger

from xzgw.wire import messages


def log_message(log: Logger, client_id: str, direction: str, text: bytes) -> None:
    """Tell of a message that is a JSON object: its type and size."""
    log.debug(
        "{client}: {direction}: {kind!r:.60}, {size} bytes",
        client=client_id,
        direction=direction,
        kind=messages.text_member(messages.parse(text), "type"),
        size=len(text),
    )
