"""What the processes of one daemon say to each other, over the socket pair between the parent and each child.

| message    | from   | meaning                                                                                  |
|------------|--------|------------------------------------------------------------------------------------------|
| `Setup`    | parent | first of all: what to run                                                                |
| `Drain`    | parent | receive nothing new, finish what runs, end                                               |
| `Halt`     | parent | end now                                                                                  |
| `Changed`  | parent | there may be shards to take or to give up                                                |
| `Line`     | child  | a line for the log                                                                       |
| `Said`     | child  | an event that the parent sums up, or decides by                                          |
| `Tried`    | child  | every mapping runs or has said why it cannot                                             |
| `Request`  | both   | a call; `Answer` follows                                                                 |
| `Answer`   | both   | the result of a call, or why there is none                                               |

They are pickled: both ends are the same program, run by the same user, and the child has code of the user's in it as the
daemon has where it is one process.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.assembly import RunOptions
    from esmd.config.schema import Config
    from esmd.observe.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a child is to do.

    Attributes:
        config: its part of the configuration.
        options: as for one process, but for what the parent decides: when to stop, and when to say statistics.
        level: the least level of the lines it sends.
    """

    config: Config
    options: RunOptions
    level: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Drain, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """End at once."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The book of a mapping has changed."""

    mapping: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line for the log; `level` as in `logging`."""

    level: int
    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """An event, whole."""

    event: Event


@dataclass(frozen=True, slots=True)
class Tried:
    """The mappings that cannot run now, and whether it is their function that keeps them."""

    unavailable: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Request:
    """A call; its number comes back with the answer."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A `StateError` on its way: its class, by name, and what it says."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call, or the error it raised."""

    number: int
    value: Any = None
    refusal: Refusal | None = None


Message: TypeAlias = Setup | Drain | Halt | Changed | Line | Said | Tried | Request | Answer
"""Anything that is said."""

LENGTH = 4
"""Bytes in front of each message: its length, big-endian."""


def packed(message: Message) -> bytes:
    """The bytes of a message, its length first."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(LENGTH) + body


def unpacked(received: bytearray) -> list[Message]:
    """The whole messages at the beginning of what was received; they are taken off it."""
    messages = []
    start = 0
    while len(received) - start >= LENGTH:
        end = start + LENGTH + int.from_bytes(received[start : start + LENGTH])
        if end > len(received):
            break
        messages.append(pickle.loads(memoryview(received)[start + LENGTH : end]))  # noqa: S301 - see the docstring
        start = end
    del received[:start]
    return messages
