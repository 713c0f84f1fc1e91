"""The mappings of a running daemon, live: `Control` over the slots they run in and the registry that outlives them.

Changes are made one after the other. A change is stored first, and takes effect then: what was answered survives a kill.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from esmd.config.schema import SqsMapping
from esmd.control import reloading
from esmd.control.members import Member, member_of, uuid_of
from esmd.control.protocol import (
    ConflictError,
    ControlError,
    Entry,
    FromFileError,
    InvalidError,
    NotFoundError,
    Reloaded,
)
from esmd.control.retired import Retired
from esmd.control.roster import Roster
from esmd.observe import control_events as say
from esmd.state.errors import StateError
from esmd.tasks import unhurried

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    from esmd.config.loader import Loaded
    from esmd.config.schema import AnyMapping, Config
    from esmd.control.changes import Changes
    from esmd.control.results import LastResults
    from esmd.control.slots import Slots
    from esmd.control.workshop import Workshop
    from esmd.function import Function
    from esmd.observe.telemetry import Telemetry
    from esmd.state.registry import Registry
    from esmd.supervisor import Runner

_ANY_QUEUE = "arn:aws:sqs:us-east-1:000000000000:any"


class MappingSet:
    """See `Control`. Make it inside the running loop, `begin` it, and run its slots.

    Args:
        config: validated.
        only: names of the mappings of files that count; empty for all.
        workshop: makes supervisors and functions.
        slots: where the mappings run.
        registry: what outlives the daemon; None where nothing does: then mappings cannot be made or paused.
        results: knows how the last batches ended.
        telemetry: where events go.
        read: reads the configuration's files anew.
        permit: raises `InvalidError` where a configuration leads to an endpoint that is not allowed.
        wall: the time, in epoch seconds.
    """

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
        read: Callable[[], Awaitable[Loaded]] | None = None,
        permit: Callable[[Config], Awaitable[None]] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._roster = Roster(
            config,
            only=only,
            workshop=workshop,
            slots=slots,
            registry=registry,
            results=results,
            telemetry=telemetry,
            wall=wall,
        )
        self._only = only
        self._workshop = workshop
        self._slots = slots
        self._registry = registry
        self._telemetry = telemetry
        self._read = read
        self._permit = permit
        self._wall = wall
        self._changing = asyncio.Lock()
        self._retired = Retired(telemetry)

    async def begin(self) -> None:
        """Take what the files say and what the registry keeps. Nothing runs before the slots do.

        Raises:
            StateError: the registry cannot be read.
        """
        pauses = {} if self._registry is None else await self._registry.pauses()
        for mapping in self._roster.chosen(self._roster.config):
            member = self._roster.of_file(self._roster.config, mapping, modified_at=None)
            member.paused = str(member.uuid) in pauses
            self._roster.place(member)
        for kept in [] if self._registry is None else await self._registry.kept():
            try:
                member = member_of(kept)
            except ValueError as error:
                self._telemetry.emit(say.MappingUnreadable(mapping=kept.uuid, error_message=str(error)))
                continue
            self._roster.judge(member)
            self._roster.place(member)

    async def close(self) -> None:
        """Let go of the functions that are used no more, at the daemon's end."""
        try:
            await self._roster.close()
        finally:
            await self._retired.close()

    # --- what there is

    @property
    def config(self) -> Config:
        """See `Control.config`."""
        return self._roster.config

    @property
    def functions(self) -> Mapping[str, Function]:
        """See `Control.functions`."""
        return self._workshop.functions

    async def function(self, name: str) -> Function:
        """See `Control.function`."""
        if name not in self._roster.config.functions:
            raise NotFoundError(f"the function {name} is not registered")
        if name not in self._workshop.functions and self._permit is not None:
            # Whoever invokes it stands where a mapping would.
            caller = SqsMapping(name=name, event_source_arn=_ANY_QUEUE, function_name=name)
            await self._permit(self._roster.config.model_copy(update={"mappings": {name: caller}}))
            self._check_alive()  # else nobody would be there to close it
        return self._workshop.function(name)

    def entries(self) -> Sequence[Entry]:
        """See `Control.entries`."""
        return [self._roster.entry(member) for member in self._roster.members.values()]

    def entry(self, name: str) -> Entry:
        """See `Control.entry`."""
        return self._roster.entry(self._roster.member(name))

    def runner(self, name: str) -> Runner | None:
        """See `Control.runner`."""
        member = self._roster.find(name)
        return None if member is None else member.slot.runner

    async def settled(self, name: str) -> Entry | None:
        """See `Control.settled`."""
        member = self._roster.find(name)
        if member is None:
            return None
        await member.slot.settled()
        if member.slot.state == "Deleting":
            await member.gone.wait()
            return None
        return self._roster.entry(member)

    # --- mappings of the API

    async def create(self, mapping: AnyMapping, *, uuid: UUID, tags: Mapping[str, str]) -> Entry:
        """See `Control.create`."""
        name = str(uuid)
        mapping = mapping.model_copy(update={"name": name, "tags": dict(tags)})
        async with self._changing:
            registry = self._writable()
            if (other := self._roster.find(name)) is not None:
                raise ConflictError(f"the mapping {name} exists", twin=self._roster.entry(other))
            await self._check(mapping, name)
            now = self._wall()
            member = Member(name=name, uuid=uuid, mapping=mapping, origin="api", created_at=now, modified_at=now)
            await _stored(registry.keep(member.kept()))
            self._roster.place(member)
            self._telemetry.emit(say.MappingAdded(mapping=name, origin="api"))
            return self._roster.entry(member)

    async def update(self, name: str, mapping: AnyMapping) -> Entry:
        """See `Control.update`."""
        async with self._changing:
            member = self._roster.changeable(name)
            mapping = mapping.model_copy(update={"name": member.name, "tags": member.mapping.tags})
            await self._check(mapping, member.name)
            await self._keep(member, mapping)
            member.refusal = None
            self._telemetry.emit(say.MappingUpdated(mapping=member.name, origin="api"))
            member.slot.change(self._roster.plan(member), held=member.held)
            return self._roster.entry(member)

    async def delete(self, name: str) -> Entry:
        """See `Control.delete`."""
        async with self._changing:
            member = self._roster.changeable(name)
            await _stored(self._writable().drop(member.name))
            self._roster.remove(member)
            return self._roster.entry(member)

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """See `Control.tag`."""
        async with self._changing:
            member = self._roster.of_api(name)
            tagged = member.mapping.model_copy(update={"tags": dict(tags)})
            await self._keep(member, tagged, modified_at=member.modified_at)  # tags are no settings

    # --- pauses

    async def pause(self, name: str) -> Entry:
        """See `Control.pause`."""
        async with self._changing:
            member = self._roster.member(name)
            if member.slot.state == "Deleting":
                raise NotFoundError(f"the mapping {name} is being deleted")
            if member.held == "paused" or (member.origin == "api" and not member.mapping.enabled):
                return self._roster.entry(member)
            if member.origin == "api":
                await self._keep(member, member.mapping.model_copy(update={"enabled": False}))
            else:
                now = self._wall()
                await _stored(self._writable().pause(str(member.uuid), now))
                member.paused, member.modified_at = True, now
            self._telemetry.emit(say.MappingPaused(mapping=member.name))
            if member.held != "configuration" or member.origin == "api":
                member.slot.hold("paused")
            return self._roster.entry(member)

    async def resume(self, name: str) -> Entry:
        """See `Control.resume`."""
        async with self._changing:
            member = self._roster.member(name)
            if member.slot.state == "Deleting":
                raise NotFoundError(f"the mapping {name} is being deleted")
            if member.origin == "file" and not member.mapping.enabled:
                raise FromFileError(
                    f"the mapping {name} is disabled in {member.file}",
                    hint="set enabled: true there, and run esmd reload",
                )
            if member.held is None:
                return self._roster.entry(member)
            if member.origin == "api":
                await self._keep(member, member.mapping.model_copy(update={"enabled": True}))
                member.slot.change(self._roster.plan(member), held=None)
            else:
                await _stored(self._writable().resume(str(member.uuid)))
                member.paused, member.modified_at = False, self._wall()
                member.slot.go()
            self._telemetry.emit(say.MappingResumed(mapping=member.name))
            return self._roster.entry(member)

    # --- the configuration

    async def reload(self) -> Reloaded:
        """See `Control.reload`."""
        async with self._changing:
            self._check_alive()
            if self._read is None:
                raise ControlError("this daemon cannot load its configuration anew", hint="start it anew")
            beside = {
                m.name: m.mapping
                for m in self._roster.members.values()
                if m.origin == "api" and m.slot.state != "Deleting"
            }
            outcome = await reloading.prepare(
                self._roster.config, self._read, beside=beside, only=self._only, permit=self._permit
            )
            if outcome.changes is None:
                self._telemetry.emit(say.ConfigRejected(errors=tuple(map(str, outcome.errors))))
                return Reloaded(applied=False, diagnostics=outcome.diagnostics)
            self._check_alive()
            return await self._apply(outcome.changes, outcome)

    async def _apply(self, changes: Changes, outcome: reloading.Outcome) -> Reloaded:
        """Make the mappings and functions what the new configuration says."""
        config = changes.config
        await self._carry_pauses(changes)
        self._check_alive()  # else nobody would be there to close what is used no more
        drained = {
            function: [
                m.slot.over
                for m in self._roster.members.values()
                if _uses(self._roster.config, m.mapping.function_name, function)
            ]
            for function in changes.stale
        }
        self._roster.config = config
        waits = {
            function.name: self._retired.take(function, after=drained[function.name])
            for function in self._workshop.take(config, changes.stale)
        }
        for name in changes.removed:
            self._roster.remove(self._roster.members[name])
        for name in changes.changed:
            member = self._roster.members[name]
            if member.origin == "file":
                mapping = config.mappings[name]
                fresh = self._roster.of_file(config, mapping, modified_at=self._wall())
                fresh.slot, fresh.paused = member.slot, member.paused
                self._roster.members[name] = member = fresh
            else:
                self._roster.judge(member)
            self._telemetry.emit(say.MappingUpdated(mapping=name, origin=member.origin))
            after = [
                closed for function, closed in waits.items() if _uses(config, member.mapping.function_name, function)
            ]
            member.slot.change(self._roster.plan(member, not_before=after), held=member.held)
        for name in changes.added:
            self._roster.place(self._roster.of_file(config, config.mappings[name], modified_at=self._wall()))
            self._telemetry.emit(say.MappingAdded(mapping=name, origin="file"))
        self._roster.in_order()
        reloading.announce(self._telemetry, changes)
        return reloading.result(changes, outcome)

    async def _carry_pauses(self, changes: Changes) -> None:
        """A mapping whose source changed has another UUID, and is paused all the same; one that goes is paused no more."""
        for name in (*changes.changed, *changes.removed):
            member = self._roster.members[name]
            if not member.paused:
                continue
            registry = self._writable()
            if name in changes.changed:
                uuid = uuid_of(name, changes.config.mappings[name].event_source_arn)
                if uuid == member.uuid:
                    continue
                await _stored(registry.pause(str(uuid), self._wall()))
            await _stored(registry.resume(str(member.uuid)))

    # --- what is refused, and what is kept

    async def _check(self, mapping: AnyMapping, name: str) -> None:
        """Refuse settings of the API that do not go together with what there is."""
        if mapping.function_name not in self._roster.config.functions:
            known = ", ".join(list(self._roster.config.functions)[:10]) or "none"
            raise InvalidError(f"Function does not exist: {mapping.function_name}", hint=f"registered: {known}")
        if (twin := self._roster.twin(mapping, name)) is not None:
            raise ConflictError(
                f"the mapping {twin.name} has the same source and function",
                twin=self._roster.entry(twin),
                hint="update or delete that one",
            )
        if self._permit is not None:
            await self._permit(self._roster.config.model_copy(update={"mappings": {name: mapping}}))

    async def _keep(self, member: Member, mapping: AnyMapping, *, modified_at: float | None = None) -> None:
        """Store other settings of a mapping of the API."""
        before = member.mapping, member.modified_at
        member.mapping = mapping
        member.modified_at = self._wall() if modified_at is None else modified_at
        try:
            await _stored(self._writable().keep(member.kept()))
        except ControlError:
            member.mapping, member.modified_at = before
            raise

    def _check_alive(self) -> None:
        if self._slots.stopping:
            raise ControlError("the daemon is stopping", hint="start it anew")

    def _writable(self) -> Registry:
        self._check_alive()
        if self._registry is None:
            raise ControlError("this daemon keeps no state", hint="run it in one process")
        return self._registry


def _uses(config: Config, name: str, function: str) -> bool:
    """Whether a mapping that invokes `name` runs `function`, itself or as a version."""
    return name == function or (name in config.functions and function in config.versions_of(name))


async def _stored(writing: Awaitable[None]) -> None:
    """Store something, or say what to do about it.

    Whoever is cancelled meanwhile is so at their next `await`: what has been stored takes effect first, as both have to
    agree.

    Raises:
        ControlError: it cannot be stored, and nothing has changed.
    """
    try:
        await unhurried(writing)
    except StateError as error:
        raise ControlError(error.message, hint=error.hint) from error
