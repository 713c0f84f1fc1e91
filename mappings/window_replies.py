"""Reading the state of a tumbling window out of a handler's answer [specification B.9].

| outcome     | answer                               | refused | state to keep                          |
|-------------|--------------------------------------|---------|----------------------------------------|
| success     | object with `state`                  | no      | it; above 1 MB it ends the window      |
| success     | object with `state` that fits no event | yes   | none                                   |
| success     | object without `state`, or with null | yes     | none                                   |
| success     | any other JSON, invalid JSON, empty  | yes     | none                                   |
| not success | -                                    | no      | none                                   |

A refused answer is a failed invocation, of a final invoke too. The state is kept as the text it came in: no number is
rounded, no member reordered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Never

from esmd.mappings.events import MAX_EVENT_BYTES
from esmd.mappings.outcomes import Outcome, Success

MAX_STATE_BYTES = 1024 * 1024
"""A window with more state is ended early [specification B.9]."""

FIELD_BYTES = 4096
"""Room in an event for the other fields of a window: two times, a shard id and an ARN."""


@dataclass(frozen=True, slots=True)
class WindowReply:
    """An answer read; at most one of the two is set.

    Attributes:
        state: JSON text, to be kept if the failure policy finds that records were processed.
        refused: why the answer makes the invocation a failure; the policy's `refused_answer`.
    """

    state: bytes | None = None
    refused: str | None = None


def read_reply(outcome: Outcome) -> WindowReply:
    """Decide by the table above."""
    if not isinstance(outcome, Success):
        return WindowReply()
    try:
        state = _state_text(outcome.payload.decode()).encode()
    except RecursionError:
        return WindowReply(refused="the answer is nested too deeply")
    except ValueError as error:
        return WindowReply(refused=str(error))
    if len(state) > MAX_EVENT_BYTES - FIELD_BYTES:
        return WindowReply(refused=f"a state of {len(state)} bytes fits no event")
    return WindowReply(state)


def _state_text(text: str) -> str:
    """The JSON text of the answer's `state`. Of several the last one counts, as everywhere in JSON.

    Raises:
        ValueError: if there is none; the message says what there is instead.
    """
    try:
        answer = _DECODER.decode(text)
    except ValueError as error:
        raise ValueError(f"the answer is not JSON ({error})") from error
    if not isinstance(answer, dict):
        raise ValueError("the answer is not an object")  # noqa: TRY004 - the handler's mistake, not the caller's
    if answer.get("state") is None:
        raise ValueError("the answer has no state")
    # From here on the text is known to be a JSON object, so the walk over its members need not look out for errors.
    state = ""
    at = text.index("{")
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, _past_space(text, at + 1))
        start = _past_space(text, text.index(":", at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        if name == "state":
            state = text[start:end]
        at = _past_space(text, end)
    return state


def _past_space(text: str, start: int) -> int:
    while text[start] in " \t\n\r":
        start += 1
    return start


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not a JSON value")


# Numbers are not read: only the text counts, and reading a very long one would fail.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)
