"""What can go wrong between a client and the fake server, on demand.

    fault          work done    the client sees
    -------------  -----------  ---------------------------------------------------------------
    Refuse         no           an HTTP error with an AWS error in its body
    Drop           as asked     the connection closed without an answer
    Stall          afterwards   the answer, late; never, if `seconds` is infinite
    Garbage        yes          status 200 with a body that is no JSON
    Truncated      yes          the first half of the answer: as a whole body, or cut in mid-body
    FailEntries    the others   a batch answer in which the chosen entries failed

`faults.add("ReceiveMessage", Refuse(503), times=3)` arms one for the next three calls; several wait in line.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esmd.testing.sqs_errors import SqsError

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_ACTION = "*"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error and do nothing."""

    status: int = 500
    code: str = "InternalFailure"
    message: str = "A fault was injected."

    def error(self) -> SqsError:
        """Return it as the error to answer with."""
        return SqsError(self.code, self.message, status=self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Close the connection without an answer, before the work or after it."""

    after_work: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Wait that many seconds before the work; `math.inf` for ever."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Do the work and answer 200 with this body."""

    body: bytes = b"<html>proxy error</html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncated:
    """Do the work and answer with the first half of the JSON.

    With `mid_body` the header announces the whole and the connection closes; else the half is a complete body.
    """

    mid_body: bool = False


@dataclass(frozen=True, slots=True)
class FailEntries:
    """Fail single entries of a batch, undone; `positions` count from 0."""

    positions: frozenset[int] = frozenset({0})
    code: str = "InternalError"
    status: int = 500
    message: str = "A fault was injected."

    def error(self) -> SqsError:
        """Return it as the error of an entry."""
        return SqsError(self.code, self.message, status=self.status)


Fault = Refuse | Drop | Stall | Garbage | Truncated | FailEntries


@dataclass(slots=True)
class Armed:
    """A fault that waits for calls, or has met them all.

    Attributes:
        left: how many more calls it strikes.
        hits: how many it has struck.
    """

    fault: Fault
    left: float
    matches: Callable[[dict[str, Any]], bool] | None
    hits: int = field(default=0)


class Faults:
    """The faults armed at a server, by action."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Armed]] = {}

    def add(
        self,
        action: str,
        fault: Fault,
        *,
        times: float = 1,
        matches: Callable[[dict[str, Any]], bool] | None = None,
    ) -> Armed:
        """Arm a fault.

        Args:
            action: for example `ReceiveMessage`; `*` for every one.
            fault: what happens.
            times: to how many calls; `math.inf` until `clear`.
            matches: strikes only requests for which this is true.
        """
        armed = Armed(fault, times, matches)
        self._lines.setdefault(action, deque()).append(armed)
        return armed

    def clear(self) -> None:
        """Disarm all."""
        self._lines.clear()

    def next_for(self, action: str, request: dict[str, Any]) -> Fault | None:
        """Return what strikes this call, and count it."""
        if not self._lines:
            return None
        for key in (action, EVERY_ACTION):
            line = self._lines.get(key, ())
            for armed in line:
                if armed.left > 0 and (armed.matches is None or armed.matches(request)):
                    armed.left -= 1
                    armed.hits += 1
                    return armed.fault
        return None
