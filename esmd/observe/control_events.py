"""The events of control: what was changed while the daemon runs, and what became of its API."""

from __future__ import annotations

from typing import ClassVar, Literal

from esmd.observe.events import Event, Level, event
from esmd.observe.mapping_events import MappingEvent


@event
class ConfigReloaded(Event):
    """The configuration was loaded anew. What did not change was not touched."""

    name: ClassVar[str] = "config.reloaded"
    added: tuple[str, ...]
    """Mappings."""
    changed: tuple[str, ...]
    """Mappings that drain and go on with other settings, or with another function."""
    removed: tuple[str, ...]
    """Mappings that drain and are gone; their positions are kept."""
    unchanged: int
    functions: tuple[str, ...]
    """Those that were added, changed or removed."""


@event
class ConfigRejected(Event):
    """The configuration was loaded anew and is not valid: everything runs on as it was."""

    name: ClassVar[str] = "config.rejected"
    level: ClassVar[Level] = "error"
    errors: tuple[str, ...]
    """Each with its place, as `esmd lint` says them."""


@event
class ConfigNeedsRestart(Event):
    """Settings changed that are read at the start only: they stay as they were until the daemon is started anew."""

    name: ClassVar[str] = "config.needs_restart"
    level: ClassVar[Level] = "warning"
    settings: tuple[str, ...]


@event
class ConfigWatched(Event):
    """Files of the configuration are watched: a change is applied without being asked for."""

    name: ClassVar[str] = "config.watched"
    files: tuple[str, ...]


@event
class ConfigWatchFailed(Event):
    """The configuration's files cannot be watched any more. `esmd reload` and SIGHUP still work."""

    name: ClassVar[str] = "config.watch_failed"
    level: ClassVar[Level] = "error"
    error_type: str
    error_message: str


@event
class MappingAdded(MappingEvent):
    """A mapping came while the daemon runs."""

    name: ClassVar[str] = "mapping.added"
    origin: Literal["file", "api"]


@event
class MappingUpdated(MappingEvent):
    """A mapping's settings or function changed: what runs drains, then it goes on with the new ones."""

    name: ClassVar[str] = "mapping.updated"
    origin: Literal["file", "api"]


@event
class MappingRemoved(MappingEvent):
    """A mapping is to go: what runs drains first."""

    name: ClassVar[str] = "mapping.removed"
    origin: Literal["file", "api"]


@event
class MappingPaused(MappingEvent):
    """Somebody paused a mapping; it has drained when `mapping.disabled` follows. It stays paused over restarts."""

    name: ClassVar[str] = "mapping.paused"


@event
class MappingResumed(MappingEvent):
    """Somebody ended the pause of a mapping."""

    name: ClassVar[str] = "mapping.resumed"


@event
class MappingUnreadable(MappingEvent):
    """A mapping that was made through the API cannot be read: another version of esmd has written it. It is kept, and not run."""

    name: ClassVar[str] = "mapping.unreadable"
    level: ClassVar[Level] = "error"
    error_message: str


@event
class PositionsLeft(MappingEvent):
    """A mapping of the API is gone, but its positions could not be removed from the state file. They do no harm."""

    name: ClassVar[str] = "positions.left"
    level: ClassVar[Level] = "warning"
    error_message: str
    hint: str


@event
class RegistryUnavailable(Event):
    """The state file could not be looked into at the start: pauses and mappings of the API that it may keep do not count."""

    name: ClassVar[str] = "registry.unavailable"
    level: ClassVar[Level] = "warning"
    error_message: str
    hint: str


@event
class ApiListening(Event):
    """The API can be called."""

    name: ClassVar[str] = "api.listening"
    level: ClassVar[Level] = "debug"
    address: str
    """Path of a Unix socket, or a URL."""


@event
class ApiUnavailable(Event):
    """The API cannot be served at one of its addresses; everything else runs."""

    name: ClassVar[str] = "api.unavailable"
    level: ClassVar[Level] = "warning"
    address: str
    error_message: str
    hint: str


@event
class ApiFailed(Event):
    """A request to the API ended in a defect of esmd. Please report it with this line."""

    name: ClassVar[str] = "api.failed"
    level: ClassVar[Level] = "error"
    method: str
    path: str
    error_type: str
    error_message: str
    stack: tuple[str, ...]


@event
class ApiUnreadable(Event):
    """What came to the API was no HTTP request, or had a body that cannot be read; it was answered with 400."""

    name: ClassVar[str] = "api.unreadable"
    level: ClassVar[Level] = "warning"
    reason: str
