"""Control of a daemon of several processes: it shows the mappings, honours what was kept, and changes nothing while it runs.

The parent divides every limit among its children when they start, so a change needs all of them started anew. Pauses and
mappings of the API that the state file keeps count from the start, as in one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from esmd.control.members import Member, member_of, uuid_of
from esmd.control.protocol import ControlError, Entry, NotFoundError
from esmd.control.reloading import modified
from esmd.control.results import NOTHING_YET
from esmd.functions import place_of
from esmd.observe.control_events import MappingUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from esmd.config.schema import AnyMapping, Config
    from esmd.control.protocol import Reloaded
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry
    from esmd.state.registry import Registry
    from esmd.supervisor import Runner


class SeveralProcesses:
    """See `Control`; made by `begin`."""

    def __init__(self, config: Config, members: Sequence[Member]) -> None:
        self._config = config
        self._members = {member.name: member for member in members}

    @classmethod
    async def begin(
        cls,
        config: Config,
        *,
        only: frozenset[str],
        registry: Registry,
        telemetry: Telemetry,
        wall: Callable[[], float],
    ) -> SeveralProcesses:
        """Take what the files say and what the registry keeps.

        Raises:
            StateError: the registry cannot be read.
        """
        pauses = await registry.pauses()
        members = []
        for name, mapping in config.mappings.items():
            if only and name not in only:
                continue
            uuid, file = uuid_of(name, mapping.event_source_arn), config.file_of.get(name)
            at = modified(file, wall)
            member = Member(
                name=name, uuid=uuid, mapping=mapping, origin="file", file=file, created_at=at, modified_at=at
            )
            member.paused = str(uuid) in pauses
            members.append(member)
        taken = {(each.mapping.event_source_arn, each.mapping.function_name): each.name for each in members}
        for kept in await registry.kept():
            try:
                member = member_of(kept)
            except ValueError as error:
                telemetry.emit(MappingUnreadable(mapping=kept.uuid, error_message=str(error)))
                continue
            twin = taken.get((member.mapping.event_source_arn, member.mapping.function_name))
            if member.mapping.function_name not in config.functions:
                member.refusal = f"Function does not exist: {member.mapping.function_name}"
            elif twin is not None:
                member.refusal = f"the mapping {twin} has the same source and function"
            members.append(member)
        return cls(config, members)

    @property
    def work(self) -> Config:
        """The configuration for the processes: with the mappings of the API, and without what may not run."""
        mappings = {
            name: m.mapping if m.held is None else m.mapping.model_copy(update={"enabled": False})
            for name, m in self._members.items()
            if m.refusal is None
        }
        return self._config.model_copy(update={"mappings": mappings})

    @property
    def paused(self) -> frozenset[str]:
        """Names of the mappings that somebody paused."""
        return frozenset(name for name, member in self._members.items() if member.held == "paused")

    @property
    def config(self) -> Config:
        """See `Control.config`."""
        return self._config

    @property
    def functions(self) -> Mapping[str, Function]:
        """None here: they are in the children."""
        return {}

    def entries(self) -> Sequence[Entry]:
        """See `Control.entries`; `state` is what is to be."""
        return [self._entry(member) for member in self._members.values()]

    def entry(self, name: str) -> Entry:
        """See `Control.entry`."""
        for member in self._members.values():
            if name == member.name or name.lower() == str(member.uuid):
                return self._entry(member)
        raise NotFoundError(f"there is no mapping {name}", hint=f"there are: {', '.join(self._members) or 'none'}")

    def runner(self, name: str) -> Runner | None:  # noqa: ARG002 - in this process nothing runs
        """None: it is in the children."""
        return None

    async def settled(self, name: str) -> Entry | None:
        """See `Control.settled`."""
        try:
            return self.entry(name)
        except NotFoundError:
            return None

    async def create(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str]) -> Entry:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def update(self, name: str, mapping: AnyMapping) -> Entry:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def delete(self, name: str) -> Entry:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def pause(self, name: str) -> Entry:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def resume(self, name: str) -> Entry:  # noqa: ARG002
        """Refused."""
        _refuse()

    async def reload(self) -> Reloaded:
        """Refused."""
        _refuse()

    def _entry(self, member: Member) -> Entry:
        region, account = place_of(member.mapping)
        return Entry(
            name=member.name,
            uuid=member.uuid,
            mapping=member.mapping,
            origin=member.origin,
            file=member.file,
            state="Enabled" if member.held is None else "Disabled",
            paused=member.paused,
            trouble=member.refusal,
            last_modified=member.modified_at,
            last_result=NOTHING_YET,
            function_arn=f"arn:aws:lambda:{region}:{account}:function:{member.mapping.function_name}",
            tags=member.mapping.tags,
        )


def _refuse() -> NoReturn:
    raise ControlError(
        "this daemon runs in several processes, which cannot be changed while they run",
        hint="stop it and start it anew, or run it without --processes",
    )
