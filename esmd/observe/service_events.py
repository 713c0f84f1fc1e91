"""The events of the service manager: what systemd could not be told."""

from __future__ import annotations

from typing import ClassVar

from esmd.observe.events import Event, Level, event


@event
class ServiceUnheard(Event):
    """The service manager's socket takes no messages; it may take the daemon for hung. Said once."""

    name: ClassVar[str] = "service.unheard"
    level: ClassVar[Level] = "warning"
    socket: str
    """What `NOTIFY_SOCKET` names."""
    error_message: str
