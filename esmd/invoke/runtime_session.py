"""One environment's conversation over Lambda's Runtime API: a state machine without sockets and without a clock.

| state                              | input        | next      | answer                                             |
|------------------------------------|--------------|-----------|----------------------------------------------------|
| starting, away, responded          | `next`       | idle      | none yet: it waits                                 |
| idle                               | `next`       | idle      | it waits; the one that waited before gets 403      |
| offered                            | `next`       | invoking  | the invocation                                     |
| invoking                           | `next`       | invoking  | the same invocation again                          |
| failed, ended                      | `next`       | (same)    | 403                                                |
| idle                               | `offer`      | invoking  | the invocation, to the `next` that waits           |
| away                               | `offer`      | offered   | none yet: nobody asks                              |
| starting, offered, invoking, responded, failed, ended | `offer` | (same) | `RuntimeError`: the caller's mistake     |
| idle                               | `lost`       | away      | none: whoever waited has gone                      |
| starting, away, offered, invoking, responded, failed, ended | `lost` | (same) | none: that connection waited for nothing |
| invoking                           | `response`   | responded | 202; its outcome                                   |
| invoking                           | `error`      | responded | 202; a function error                              |
| invoking                           | `too large`  | responded | 413; `Function.ResponseSizeTooLarge`               |
| invoking                           | `other id`   | invoking  | 400: not the invocation that runs                  |
| starting, idle, away, offered, responded, failed, ended | `response` | (same) | 403                                      |
| starting, idle, away, offered, responded, failed, ended | `error`    | (same) | 403                                      |
| starting, idle, away, offered, responded, failed, ended | `too large` | (same) | 403                                     |
| starting, idle, away, offered, responded, failed, ended | `other id` | (same) | 403                                      |
| starting                           | `init/error` | failed    | 202; why the function cannot run                   |
| idle, away, offered, invoking, responded, failed, ended | `init/error` | (same) | 403                                    |
| starting, idle, away, offered, invoking, responded, failed, ended | `end` | ended | none: nobody is there to hear it       |

`away` is a runtime that has been loaded and does not ask: its HTTP client was killed, or gave up waiting. `end` is that
of the process, by itself or at the deadline; an answer that was given before still counts. As on Lambda an invocation is
over when the runtime asks for the next one, and asking again without an answer gives the same one again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from esmd.invoke.protocol import MAX_RESPONSE_BYTES
from esmd.mappings.outcomes import FunctionError

if TYPE_CHECKING:
    from esmd.mappings.outcomes import Success

State = Literal["starting", "idle", "away", "offered", "invoking", "responded", "failed", "ended"]
Action = Literal["response", "error", "init/error"]

RESPONSE_TOO_LARGE = FunctionError(
    "exception",
    "Function.ResponseSizeTooLarge",
    f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes).",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a `next` is answered with.

    Attributes:
        event: UTF-8 JSON, handed on as it is.
        deadline_ms: when it will be ended, in milliseconds since 1970.
        arn: the function's.
        trace: an X-Ray trace header.
    """

    request_id: str
    event: bytes
    deadline_ms: int
    arn: str
    trace: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status of 400 or more, with the two members of Lambda's error object."""

    status: int
    error_type: str
    message: str


TOO_LARGE = Refusal(
    413, "RequestEntityTooLarge", f"The body is larger than the {MAX_RESPONSE_BYTES} bytes that an answer may have."
)
OTHER_ID = Refusal(400, "InvalidRequestID", "This is not the id of the invocation that runs.")

Deliveries = list[tuple[Hashable, Invocation | Refusal]]
"""Which waiter is to be sent what, now."""


class RuntimeSession:
    """See the table above. A waiter is whatever the server knows a waiting `next` by.

    Attributes:
        state: as in the table.
        failure: why the function cannot run, once the runtime said so.
        outcome: of the invocation that was offered last, once the runtime has answered.
        handed_over: whether that invocation was ever sent to the runtime.
        waiter: the `next` that waits; None if none does.
    """

    def __init__(self) -> None:
        self.state: State = "starting"
        self.failure: FunctionError | None = None
        self.outcome: Success | FunctionError | None = None
        self.handed_over = False
        self._invocation: Invocation | None = None
        self.waiter: Hashable = None

    def next(self, waiter: Hashable) -> Deliveries:
        """The runtime asks for an invocation. Returns who is to be sent what now."""
        match self.state:
            case "starting" | "away" | "responded" | "idle":
                former, self.waiter = self.waiter, waiter
                self.state = "idle"
                self._invocation = None
                return [] if former is None else [(former, self._misplaced("ask twice"))]
            case "offered" | "invoking":
                return [(waiter, self._hand_over())]
            case _:
                return [(waiter, self._misplaced("ask for an invocation"))]

    def offer(self, invocation: Invocation) -> Deliveries:
        """The daemon has an invocation for an environment that is idle or away. Returns who is to be sent it now."""
        if self.state not in {"idle", "away"}:
            message = f"an invocation was offered to an environment that is {self.state}"
            raise RuntimeError(message)
        self._invocation = invocation
        self.outcome = None
        self.handed_over = False
        waiter, self.waiter = self.waiter, None
        if waiter is None:
            self.state = "offered"
            return []
        return [(waiter, self._hand_over())]

    def lost(self, waiter: Hashable) -> None:
        """A connection has gone: it must not be given an invocation."""
        if self.state == "idle" and waiter is self.waiter:
            self.waiter = None
            self.state = "away"

    def refusal(self, action: Action, request_id: str = "") -> Refusal | None:
        """Why the runtime may not do this now, known before the body of its request has been read."""
        if self.state != ("starting" if action == "init/error" else "invoking"):
            return self._misplaced("report an init error" if action == "init/error" else "answer")
        if action != "init/error" and (self._invocation is None or self._invocation.request_id != request_id):
            return OTHER_ID
        return None

    def respond(self, request_id: str, outcome: Success | FunctionError) -> Refusal | None:
        """The runtime has sent its whole answer, or its error."""
        refusal = self.refusal("response", request_id)
        if refusal is None:
            self.outcome = outcome
            self.state = "responded"
        return refusal

    def too_large(self, request_id: str) -> Refusal:
        """The runtime is sending more than an answer may have."""
        return self.respond(request_id, RESPONSE_TOO_LARGE) or TOO_LARGE

    def init_error(self, failure: FunctionError) -> Refusal | None:
        """The runtime cannot load the function."""
        refusal = self.refusal("init/error")
        if refusal is None:
            self.failure = failure
            self.state = "failed"
        return refusal

    def end(self) -> None:
        """The process has ended: nothing more is handed over, and nobody waits."""
        self.state = "ended"
        self._invocation = None
        self.waiter = None

    @property
    def resting(self) -> bool:
        """Whether nothing is under way: it is loaded, and every invocation that it got is over."""
        return self.state in {"idle", "away"}

    def _hand_over(self) -> Invocation:
        assert self._invocation is not None  # noqa: S101  states offered and invoking, and offer itself, have one
        self.state = "invoking"
        self.handed_over = True
        return self._invocation

    def _misplaced(self, deed: str) -> Refusal:
        return Refusal(403, "InvalidStateTransition", f"A runtime that is {self.state} may not {deed}.")
