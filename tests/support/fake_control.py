"""A running daemon's control side without a daemon: mappings in memory, whose states move when the test says so."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from esmd.config.schema import Config, PythonFunction
from esmd.control.protocol import (
    ConflictError,
    Entry,
    FromFileError,
    InUseError,
    InvalidError,
    NotFoundError,
    Reloaded,
)
from esmd.functions import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esmd.config.schema import AnyMapping
    from esmd.control.protocol import State
    from esmd.function import Function
    from esmd.supervisor import Runner

FILE = Path("/etc/esmd/esmd.yaml")


def config_of(*names: str) -> Config:
    """A configuration that registers Python functions."""
    functions = {name: PythonFunction(handler=f"{name}:handle", directory=FILE.parent) for name in names}
    return Config(functions=functions, files=(FILE,))


class FakeControl:
    """See `esmd.control.protocol.Control`.

    Args:
        config: what is registered.
        functions: those that can be invoked.
        mappings: those of the file.
    """

    def __init__(
        self,
        config: Config,
        *,
        functions: Mapping[str, Function] | None = None,
        mappings: Sequence[AnyMapping] = (),
    ) -> None:
        self.config = config
        self.functions = functions or {}
        self._entries: dict[str, Entry] = {}
        for mapping in mappings:
            uuid = uuid5(NAMESPACE_URL, f"{mapping.name}:{mapping.event_source_arn}")
            self._put(self._new(mapping, uuid=uuid, tags=mapping.tags, file=FILE))

    # --- for tests

    def move(self, name: str, state: State) -> None:
        """Put a mapping into a state."""
        self._put(replace(self.entry(name), state=state))

    def settle(self) -> None:
        """Let every change come to its end."""
        for entry in list(self._entries.values()):
            if entry.state == "Deleting":
                del self._entries[entry.name]
            else:
                self._put(replace(entry, state="Enabled" if entry.mapping.enabled else "Disabled"))

    def change(self, name: str, **values: object) -> None:
        """Change what is known of a mapping."""
        self._put(replace(self.entry(name), **values))  # type: ignore[arg-type]

    # --- the protocol

    async def function(self, name: str) -> Function:
        if name not in self.functions:
            raise InvalidError(f"the function {name}: its endpoint is not local", hint="allow it")
        return self.functions[name]

    def entries(self) -> Sequence[Entry]:
        return list(self._entries.values())

    def entry(self, name: str) -> Entry:
        for entry in self._entries.values():
            if name in (entry.name, str(entry.uuid)):
                return entry
        raise NotFoundError(f"there is no mapping {name}")

    def runner(self, name: str) -> Runner | None:
        return None

    async def create(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str]) -> Entry:
        self._check(mapping)
        entry = self._new(mapping, uuid=uuid, tags=tags, file=None)
        return self._put(replace(entry, state="Creating" if mapping.enabled else "Disabled"))

    async def update(self, name: str, mapping: AnyMapping) -> Entry:
        entry = self._changeable(name)
        self._check(mapping, but=entry)
        state: State = "Updating"
        if mapping.enabled != entry.mapping.enabled:
            state = "Enabling" if mapping.enabled else "Disabling"
        return self._put(replace(entry, mapping=mapping, state=state, last_modified=time.time()))

    async def delete(self, name: str) -> Entry:
        return self._put(replace(self._changeable(name), state="Deleting"))

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:
        entry = self.entry(name)
        if entry.origin == "file":
            raise FromFileError(f"the mapping {name} is written in {FILE}")
        self._put(replace(entry, tags=dict(tags)))

    async def pause(self, name: str) -> Entry:
        return self._put(replace(self.entry(name), paused=True, state="Disabling"))

    async def resume(self, name: str) -> Entry:
        return self._put(replace(self.entry(name), paused=False, state="Enabling"))

    async def settled(self, name: str) -> Entry | None:
        self.settle()
        return self._entries.get(name)

    async def reload(self) -> Reloaded:
        return Reloaded(applied=True, unchanged=len(self._entries))

    # --- inside

    def _new(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str], file: Path | None) -> Entry:
        region, account = place_of(mapping)
        return Entry(
            name=mapping.name,
            uuid=uuid,
            mapping=mapping,
            origin="api" if file is None else "file",
            file=file,
            state="Enabled" if mapping.enabled else "Disabled",
            paused=False,
            trouble=None,
            last_modified=time.time(),
            last_result="No records processed",
            function_arn=f"arn:aws:lambda:{region}:{account}:function:{mapping.function_name}",
            tags=dict(tags),
        )

    def _put(self, entry: Entry) -> Entry:
        self._entries[entry.name] = entry
        return entry

    def _changeable(self, name: str) -> Entry:
        entry = self.entry(name)
        if entry.origin == "file":
            raise FromFileError(f"the mapping {name} is written in {FILE}", hint="change it there")
        if not entry.settled:
            raise InUseError(f"the mapping {name} is {entry.state}")
        return entry

    def _check(self, mapping: AnyMapping, but: Entry | None = None) -> None:
        if mapping.function_name not in self.config.functions:
            raise InvalidError(f"the function {mapping.function_name} is not registered")
        for other in self._entries.values():
            theirs, ours = other.mapping, mapping
            same = (theirs.event_source_arn, theirs.function_name) == (ours.event_source_arn, ours.function_name)
            if same and (but is None or other.name != but.name):
                raise ConflictError("there is one", twin=other)
