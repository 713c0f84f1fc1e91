"""Who is there: the mappings of a running daemon, each with its slot, found by name or UUID and told apart from its twins."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from esmd.control import reloading
from esmd.control.members import Member, uuid_of
from esmd.control.protocol import TRANSIENT, Entry, FromFileError, InUseError, NotFoundError
from esmd.control.slot import Plan, Slot
from esmd.observe import control_events as say
from esmd.state.errors import StateError
from esmd.tasks import Lasting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from esmd.config.schema import AnyMapping, Config
    from esmd.control.results import LastResults
    from esmd.control.slots import Slots
    from esmd.control.workshop import Workshop
    from esmd.observe.telemetry import Telemetry
    from esmd.state.registry import Registry


class Roster:
    """The mappings of one daemon. Decides nothing about what may be changed; see `MappingSet` for the arguments."""

    def __init__(
        self,
        config: Config,
        *,
        only: frozenset[str],
        workshop: Workshop,
        slots: Slots,
        registry: Registry | None,
        results: LastResults,
        telemetry: Telemetry,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        """The configuration in force."""
        self.members: dict[str, Member] = {}
        """By name: those of the files in their order, then those of the API."""
        self._only = only
        self._workshop = workshop
        self._slots = slots
        self._registry = registry
        self._results = results
        self._telemetry = telemetry
        self._wall = wall
        self._chores: set[Lasting] = set()
        self._closed = False

    async def close(self) -> None:
        """Forget nothing more."""
        self._closed = True
        for chore in self._chores:
            chore.cancel()
        if self._chores:
            await asyncio.wait([chore.ended for chore in self._chores])

    def chosen(self, config: Config) -> Iterable[AnyMapping]:
        """The mappings of a configuration that count."""
        return [mapping for name, mapping in config.mappings.items() if not self._only or name in self._only]

    def of_file(self, config: Config, mapping: AnyMapping, *, modified_at: float | None) -> Member:
        """A mapping as a configuration says it, without a slot; changed last when its file was, unless somebody knows better."""
        file = config.file_of.get(mapping.name)
        at = reloading.modified(file, self._wall) if modified_at is None else modified_at
        uuid = uuid_of(mapping.name, mapping.event_source_arn)
        return Member(
            name=mapping.name, uuid=uuid, mapping=mapping, origin="file", file=file, created_at=at, modified_at=at
        )

    def place(self, member: Member) -> None:
        """Give a mapping a slot; where one of that name still drains, it begins when that is over."""
        before = self._slots.get(member.name)
        plan = self.plan(member, not_before=[] if before is None else [before.over, *before.pending])
        member.slot = Slot(member.name, plan=plan, held=member.held, telemetry=self._telemetry)
        self.members[member.name] = member
        self._slots.add(member.slot)

    def plan(self, member: Member, *, not_before: Iterable[asyncio.Event] = ()) -> Plan:
        """How to run a mapping by its settings of now."""
        make = partial(self._workshop.supervisor, member.mapping, refusal=member.refusal)
        return Plan(make=make, not_before=tuple(not_before))

    def judge(self, member: Member) -> None:
        """Find out whether a mapping of the API may run beside what the files say now."""
        twin = self.twin(member.mapping, member.name)
        if member.mapping.function_name not in self.config.functions:
            member.refusal = f"Function does not exist: {member.mapping.function_name}"
        elif twin is not None:
            member.refusal = f"the mapping {twin.name} has the same source and function"
        else:
            member.refusal = None

    def in_order(self) -> None:
        """Those of the files in their order, then those of the API, then what is about to be gone."""
        order = {name: place for place, name in enumerate(self.config.mappings)}
        last = len(order)
        ranked = sorted(self.members.items(), key=lambda item: (order.get(item[0], last), item[1].created_at, item[0]))
        self.members = dict(ranked)

    def remove(self, member: Member) -> None:
        """Let a mapping drain, and forget it then; of one of the API its positions too."""
        self._telemetry.emit(say.MappingRemoved(mapping=member.name, origin=member.origin))
        member.slot.delete()
        if self._closed:  # asked for while the daemon ended: it has been dropped, and what is in memory goes by itself
            return
        chore = Lasting(partial(self._forget, member), name=f"removal of {member.name}")
        self._chores.add(chore)
        chore.ended.add_done_callback(lambda _: self._chores.discard(chore))

    async def _forget(self, member: Member) -> None:
        await member.slot.settled()
        try:
            if member.origin == "api" and self._registry is not None:
                await self._registry.drop_positions(member.name)
        except StateError as error:
            # The mapping is gone all the same, and its UUID never comes again.
            self._telemetry.emit(say.PositionsLeft(mapping=member.name, error_message=error.message, hint=error.hint))
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self._results.forget(member.name)
        member.gone.set()

    def find(self, name: str) -> Member | None:
        """The mapping of that name or UUID; None where there is none."""
        found = self.members.get(name)
        return found or next((m for m in self.members.values() if str(m.uuid) == name.lower()), None)

    def member(self, name: str) -> Member:
        """The mapping of that name or UUID.

        Raises:
            NotFoundError: there is none.
        """
        if (found := self.find(name)) is None:
            known = ", ".join(list(self.members)[:10]) or "none"
            raise NotFoundError(f"there is no mapping {name}", hint=f"there are: {known}")
        return found

    def of_api(self, name: str) -> Member:
        """The same, of one made through the API.

        Raises:
            NotFoundError, FromFileError: as they say.
        """
        member = self.member(name)
        if member.origin == "file":
            raise FromFileError(
                f"the mapping {member.name} is written in {member.file}", hint="change it there, and run esmd reload"
            )
        return member

    def changeable(self, name: str) -> Member:
        """The same, of one that nothing is happening to.

        Raises:
            NotFoundError, FromFileError, InUseError: as they say.
        """
        member = self.of_api(name)
        if member.slot.state in TRANSIENT:
            raise InUseError(f"the mapping {name} is {member.slot.state}", hint="wait until that is over")
        return member

    def twin(self, mapping: AnyMapping, name: str) -> Member | None:
        """Another mapping of the same source and function; `name` is this one's."""
        key = (mapping.event_source_arn, mapping.function_name)
        for other in self.members.values():
            if other.name != name and (other.mapping.event_source_arn, other.mapping.function_name) == key:
                return other
        return None

    def entry(self, member: Member) -> Entry:
        """What others see of a mapping."""
        slot = member.slot
        return Entry(
            name=member.name,
            uuid=member.uuid,
            mapping=member.mapping,
            origin=member.origin,
            file=member.file,
            state=slot.state,
            paused=member.paused,
            trouble=slot.trouble,
            last_modified=member.modified_at,
            last_result=self._results.of(member.name),
            function_arn=self._workshop.arn_of(member.mapping.function_name),
            tags=member.mapping.tags,
        )
