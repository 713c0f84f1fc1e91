"""The parent's side of what children ask for: progress in the state store, and shards from the books."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from esmd.observe.daemon_events import InternalError
from esmd.observe.stacks import stack_of
from esmd.state.errors import StateError
from esmd.streams.book import Bookkeeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from esmd.observe.telemetry import Telemetry
    from esmd.processes.messages import Request
    from esmd.state.protocol import DaemonStore

_OF_STORE = frozenset({"load", "begin", "save", "forget", "mappings"})
_OF_BOOK = frozenset({"begin", "ticket", "listed", "ended", "give_back", "take"})


class Desk:
    """Serves all children, each by its number.

    Args:
        store: of the daemon; None where no mapping needs one.
        readers: the numbers of the processes that run each stream mapping.
        wake: called with a mapping and a process's number when the book of the one may have something for the other.
        telemetry: where a defect is said.
    """

    def __init__(
        self,
        store: DaemonStore | None,
        *,
        readers: Mapping[str, Iterable[int]],
        wake: Callable[[str, int], None],
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._readers = {mapping: frozenset(numbers) for mapping, numbers in readers.items()}
        self._keepers: dict[str, Bookkeeper] = {}
        if store is not None:
            for mapping in self._readers:
                self._keepers[mapping] = Bookkeeper(
                    mapping, store=store, table=store, wall=time.time, wake=partial(wake, mapping)
                )

    def expect(self, starting: Iterable[int]) -> None:
        """Say which processes are starting, so that shards are kept for them."""
        numbers = frozenset(starting)
        for mapping, keeper in self._keepers.items():
            keeper.expect(numbers & self._readers[mapping])

    def leave(self, process: int) -> None:
        """A process is gone, with all that it ran."""
        for keeper in self._keepers.values():
            keeper.leave(process)

    async def serve(self, process: int, request: Request) -> Any:
        """Carry out a call of a process.

        Raises:
            StateError: it is refused, or the store cannot.
        """
        try:
            return await self._serve(process, request)
        except StateError:
            raise
        except Exception as error:
            self._telemetry.emit(
                InternalError(
                    where=f"request {request.method} of process {process}",
                    error_type=type(error).__name__,
                    error_message=str(error),
                    stack=stack_of(error),
                )
            )
            raise StateError(
                f"the parent process failed: {error}", hint="This is a defect of esmd, please report it."
            ) from error

    async def _serve(self, process: int, request: Request) -> Any:
        what, _, method = request.method.rpartition(".")
        arguments, options = request.arguments, request.options
        if what == "book" and method in _OF_BOOK:
            mapping, *rest = arguments
            return await getattr(self._keepers[mapping], method)(process, *rest, **options)
        if what or method not in _OF_STORE or self._store is None:
            raise StateError(f"there is no {request.method} here", hint="This is a defect of esmd, please report it.")
        if method == "save":
            mapping, identity, *progress = arguments
            if (keeper := self._keepers.get(mapping)) is not None:
                keeper.check_lease(process, identity, [each.shard_id for each in progress])
        return await getattr(self._store, method)(*arguments, **options)
