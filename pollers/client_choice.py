"""Which client makes the frequent calls: the lean one (`wire`) or botocore; decided per service and endpoint.

| setting    | endpoint                      | calls go by | told                                                            |
|------------|-------------------------------|-------------|-----------------------------------------------------------------|
| `botocore` | any                           | botocore    | nothing                                                         |
| `wire`     | any                           | wire        | nothing                                                         |
| `wire`     | has an obstacle               | -           | `SourceError`, `RECONFIGURE`, with the obstacle                 |
| `wire`     | a protocol error              | wire        | `SourceError`, `BACK_OFF`, each time                            |
| `auto`     | any                           | wire        | nothing                                                         |
| `auto`     | has an obstacle               | botocore    | once                                                            |
| `auto`     | a protocol error              | botocore    | once, and `SourceError`, `BACK_OFF`, for the call that met it   |

A fall back lasts as long as the process: a client that misread one answer may misread another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from esmd.pollers.errors import Failure, Kind, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

Setting = Literal["auto", "wire", "botocore"]
"""What the configuration says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FallBack:
    """Calls go by botocore from now on, though the lean client was wanted.

    Attributes:
        service: botocore's name: `sqs`, `kinesis`, `dynamodbstreams`.
        endpoint: scheme, host and port.
        cause: something known before any call, or what came back from one.
        reason: for a person.
    """

    service: str
    endpoint: str
    cause: Literal["obstacle", "protocol_error"]
    reason: str


@dataclass(slots=True, eq=False)
class Place:
    """A service at an endpoint, shared by all who call it.

    Attributes:
        service: see `FallBack`.
        endpoint: see `FallBack`.
        is_wire: whether the lean client makes the calls. It may become false, and never true again.
    """

    service: str
    endpoint: str
    is_wire: bool


class ClientChoice:
    """Decides by the module's table, and remembers.

    Args:
        setting: of the configuration.
        say: is told of every fall back, once for each service and endpoint.
    """

    def __init__(self, setting: Setting, *, say: Callable[[FallBack], None]) -> None:
        self.setting = setting
        self._say = say
        self._places: dict[tuple[str, str], Place] = {}

    def place(self, service: str, endpoint: str) -> Place:
        """What is decided for a service at an endpoint."""
        key = (service, endpoint)
        if key not in self._places:
            self._places[key] = Place(service, endpoint, is_wire=self.setting != "botocore")
        return self._places[key]

    def obstacle(self, place: Place, reason: str) -> None:
        """The lean client cannot be used there.

        Raises:
            SourceError: but it has to be.
        """
        if self.setting == "wire":
            message = f"`client: wire` cannot be used for {place.service} at {place.endpoint}: {reason}"
            raise SourceError(Failure(Kind.RECONFIGURE, "WireRefused", message))
        self._fall_back(place, "obstacle", reason)

    def protocol_error(self, place: Place, reason: str) -> SourceError:
        """The lean client did not understand an answer; the error for the call that met it."""
        if self.setting == "auto":
            self._fall_back(place, "protocol_error", reason)
        return SourceError(Failure(Kind.BACK_OFF, "ProtocolError", f"{place.endpoint}: {reason}"))

    def _fall_back(self, place: Place, cause: Literal["obstacle", "protocol_error"], reason: str) -> None:
        if place.is_wire:
            place.is_wire = False
            self._say(FallBack(service=place.service, endpoint=place.endpoint, cause=cause, reason=reason))
