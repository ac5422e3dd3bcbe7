"""The line that `debug` gives a message."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from xzgw.core.message_log import log_message


class MessageLogTests(SynchronousTestCase):
    """One line, at the level debug."""

    def test_line(self) -> None:
        """Type and size, and nothing else of the message; an endless type is cut."""
        texts = (b'{"type":"mcp","token":"secret"}', b"{}", b'{"type":"%s"}' % (b"x" * 500))
        with capturedLogs() as events:
            for text in texts:
                log_message(Logger(), "device", "to server", text)
        self.assertEqual([event["log_level"] for event in events], [LogLevel.debug] * 3)
        mcp, none, long = map(formatEvent, events)
        self.assertEqual(mcp, "device: to server: 'mcp', 31 bytes")
        self.assertEqual(none, "device: to server: None, 2 bytes")
        self.assertEqual(long, "device: to server: '" + "x" * 59 + ", 511 bytes")
