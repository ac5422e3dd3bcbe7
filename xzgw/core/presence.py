"""What a session is doing, for those who look at it from outside."""

from __future__ import annotations

from xzgw.core.door import Presence
from xzgw.core.session_types import Dialing, Gone, Idle, InCall, Live, State

_PRESENCE = {
    Idle: Presence.IDLE,
    Dialing: Presence.DIALING,
    Live: Presence.LIVE,
    InCall: Presence.IN_CALL,
    Gone: Presence.GONE,
}


def presence_of(state: State) -> Presence:
    """The name of a session's state."""
    return _PRESENCE[type(state)]
