"""What all places have in common that something is replayed from: a queue, a bucket, a file.

| call        | when                                                                      |
|-------------|---------------------------------------------------------------------------|
| `next`      | until it gives nothing                                                    |
| `done`      | an item was replayed: it may leave                                        |
| `release`   | at the end, however that comes: what was received and not done is free again |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from esmd.replay.documents import documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to replay.

    Attributes:
        name: for a person: a message id, a key, a line.
        text: the failure record, or the body.
        origin: what the source needs to let it go: the message, the key.
    """

    name: str
    text: str
    origin: Mapping[str, Any] = field(default_factory=dict)


class ReplaySource(Protocol):
    """Where items come from. Calls raise `SourceError`."""

    left_alone: int
    """Items that have come since the replay began, and are not given out."""

    async def count(self) -> int | None:
        """About how many there are; None where nobody knows without looking at them."""
        ...

    async def next(self) -> Sequence[Item]:
        """Some items that have not been given out yet; empty when there are no more."""
        ...

    async def done(self, items: Sequence[Item]) -> Sequence[str]:
        """Let items go that were replayed; for each that could not be, why."""
        ...

    async def release(self) -> None:
        """Give back what was taken and is not done."""
        ...


class FileSource:
    """The failure records of a file: JSON, a JSON list or JSON lines. Nothing leaves a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON in UTF-8.
    """

    def __init__(self, path: Path) -> None:
        texts = documents(path.read_text(encoding="utf-8-sig"))
        self._items = [Item(f"{path.name}, record {number}", text) for number, text in enumerate(texts, start=1)]
        self._given = False
        self.left_alone = 0

    async def count(self) -> int:
        """See `ReplaySource.count`."""
        return len(self._items)

    async def next(self) -> Sequence[Item]:
        """See `ReplaySource.next`."""
        items = [] if self._given else self._items
        self._given = True
        return items

    async def done(self, items: Sequence[Item]) -> Sequence[str]:  # noqa: ARG002
        """See `ReplaySource.done`."""
        return ()

    async def release(self) -> None:
        """See `ReplaySource.release`."""
