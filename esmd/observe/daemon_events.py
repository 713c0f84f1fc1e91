"""The events of the process."""

from __future__ import annotations

from typing import ClassVar

from esmd.observe.events import Event, Level, event


@event
class DaemonStarting(Event):
    """The configuration is accepted; the mappings are being started."""

    name: ClassVar[str] = "daemon.starting"
    version: str
    pid: int
    files: tuple[str, ...]
    endpoint: str
    region: str | None


@event
class ConfigWarning(Event):
    """The configuration is valid, but something in it has no effect or is not as on AWS; `esmd lint` says the same."""

    name: ClassVar[str] = "config.warning"
    level: ClassVar[Level] = "warning"
    place: str
    """`file:line:column`."""
    setting: str
    message: str
    hint: str | None


@event
class ClientFellBack(Event):
    """Frequent calls go by botocore from now on, with `aws.client: auto`. It costs CPU and nothing else."""

    name: ClassVar[str] = "client.fell_back"
    level: ClassVar[Level] = "warning"
    service: str
    endpoint: str
    cause: str
    """`obstacle`: known before any call, such as a proxy. `protocol_error`: an answer was not understood."""
    reason: str


@event
class DaemonReady(Event):
    """Every mapping has been started or has said why it cannot run."""

    name: ClassVar[str] = "daemon.ready"
    mappings: int
    unavailable: int
    disabled: int


@event
class DaemonDraining(Event):
    """Nothing new is received; what runs is finished, what was received and not started is given back."""

    name: ClassVar[str] = "daemon.draining"
    reason: str
    """A signal's name, `idle`, `fail-fast`, or `internal error`."""
    in_flight: int
    pollers: int
    grace_s: float


@event
class DaemonCutShort(Event):
    """The grace period (or a second signal) ended the drain: unfinished batches will be delivered again."""

    name: ClassVar[str] = "daemon.cut_short"
    level: ClassVar[Level] = "error"
    reason: str
    in_flight: int


@event
class DaemonStopped(Event):
    """The last line: how it ended."""

    name: ClassVar[str] = "daemon.stopped"
    exit_code: int
    uptime_s: float


@event
class InternalError(Event):
    """A defect of esmd. The mapping concerned starts anew; nothing is lost. Please report it with this line."""

    name: ClassVar[str] = "internal.error"
    level: ClassVar[Level] = "error"
    where: str
    error_type: str
    error_message: str
    stack: tuple[str, ...]
