"""What goes wrong with a request, as events: also what aiohttp itself would write into the log, with a traceback.

| aiohttp tells of                                                                     | event            |
|--------------------------------------------------------------------------------------|------------------|
| what is no HTTP, breaks its limits, or has a body that cannot be read (400, each)    | `api.unreadable` |
| anything else                                                                        | `api.failed`     |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.http import HttpProcessingError
from aiohttp.web import RequestPayloadError

from esmd.observe.control_events import ApiFailed, ApiUnreadable
from esmd.observe.stacks import stack_of

if TYPE_CHECKING:
    from esmd.observe.telemetry import Telemetry

_LONGEST = 200
"""Characters of what a client sent, at most."""

_UNREADABLE = (HttpProcessingError, RequestPayloadError)


def failed(error: BaseException, *, method: str, path: str) -> ApiFailed:
    """The event of a defect of ours."""
    return ApiFailed(
        method=method,
        path=path[:_LONGEST],
        error_type=type(error).__name__,
        error_message=str(error),
        stack=stack_of(error),
    )


class ServerLog:
    """Takes the place of aiohttp's logger. See the module's table."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def exception(self, message: str, *arguments: object, exc_info: BaseException | None = None) -> None:
        """A request could not be read, or nobody has caught what its handling raised."""
        if isinstance(exc_info, _UNREADABLE):
            why = exc_info.message if isinstance(exc_info, HttpProcessingError) else str(exc_info)
            self._telemetry.emit(ApiUnreadable(reason=" ".join(why.split())[:_LONGEST]))
        else:
            said = message % arguments if arguments else message
            self._telemetry.emit(failed(exc_info or RuntimeError(said), method="", path=""))

    def debug(self, message: str, *arguments: object, exc_info: BaseException | None = None) -> None:
        """Nothing to worry about; but a request that is none is told of here, too."""
        if isinstance(exc_info, _UNREADABLE):
            self.exception(message, *arguments, exc_info=exc_info)
