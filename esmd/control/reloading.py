"""Loading the configuration anew: read, judged as `esmd lint` does, compared with what runs; nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esmd.config.report import Diagnostic
from esmd.control.changes import Changes, compare
from esmd.control.protocol import InvalidError, Reloaded
from esmd.observe import control_events as say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from esmd.config.loader import Loaded
    from esmd.config.schema import AnyMapping, Config
    from esmd.observe.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of reading.

    Attributes:
        changes: what to do; None where there are errors.
        diagnostics: errors and warnings.
    """

    changes: Changes | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> Sequence[Diagnostic]:
        """Those that keep it from being applied."""
        return [each for each in self.diagnostics if each.severity == "error"]


async def prepare(
    config: Config,
    read: Callable[[], Awaitable[Loaded]],
    *,
    beside: Mapping[str, AnyMapping],
    only: frozenset[str],
    permit: Callable[[Config], Awaitable[None]] | None,
) -> Outcome:
    """Read the files and find out what they change.

    Args:
        config: in force.
        read: reads the files.
        beside: the mappings of the API.
        only: names of the mappings of files that count; empty for all.
        permit: raises `InvalidError` where a configuration leads to an endpoint that is not allowed.
    """
    loaded = await read()
    if loaded.config is None:
        return Outcome(changes=None, diagnostics=loaded.diagnostics)
    changes = compare(config, loaded.config, beside=beside, only=only)
    refusals = list(_refusals(config, changes.config, beside))
    if not refusals and permit is not None:
        try:
            await permit(changes.config)
        except InvalidError as error:
            refusals.append(_refusal(changes.config, "", error.message, error.hint))
    if refusals:
        return Outcome(changes=None, diagnostics=(*loaded.diagnostics, *refusals))
    return Outcome(changes=changes, diagnostics=loaded.diagnostics)


def _refusals(old: Config, new: Config, beside: Mapping[str, AnyMapping]) -> Iterator[Diagnostic]:
    """Why files that are valid in themselves do not go together with the mappings of the API."""
    of_files = {(each.event_source_arn, each.function_name): name for name, each in new.mappings.items()}
    before = {(each.event_source_arn, each.function_name) for each in old.mappings.values()}
    for name, mapping in beside.items():
        key = mapping.event_source_arn, mapping.function_name
        twin = of_files.get(key)
        if twin is not None and key not in before:  # one that was there at the start goes on as it is
            text = f"the mapping {name}, made through the API, has the same source and function"
            yield _refusal(new, f"mappings.{twin}", text, "delete that one first")
        if mapping.function_name in old.functions and mapping.function_name not in new.functions:
            text = f"{mapping.function_name} is used by the mapping {name}, made through the API"
            yield _refusal(new, "functions", text, "delete or update that one first")


def _refusal(config: Config, path: str, message: str, hint: str) -> Diagnostic:
    name = path.removeprefix("mappings.")
    file = config.file_of.get(name) or (config.files[0] if config.files else Path())
    return Diagnostic(file, 0, 0, path, message, hint)


def announce(telemetry: Telemetry, changes: Changes) -> None:
    """Say what was changed."""
    telemetry.emit(
        say.ConfigReloaded(
            added=changes.added,
            changed=changes.changed,
            removed=changes.removed,
            unchanged=len(changes.unchanged),
            functions=changes.functions,
        )
    )
    if changes.restart_needed:
        telemetry.emit(say.ConfigNeedsRestart(settings=changes.restart_needed))


def result(changes: Changes, outcome: Outcome) -> Reloaded:
    """What came of it, for whoever asked."""
    return Reloaded(
        applied=True,
        added=changes.added,
        changed=changes.changed,
        removed=changes.removed,
        unchanged=len(changes.unchanged),
        functions=changes.functions,
        restart_needed=changes.restart_needed,
        diagnostics=outcome.diagnostics,
    )


def modified(file: Path | None, wall: Callable[[], float]) -> float:
    """When a file was changed last, in epoch seconds; now, where nobody can tell."""
    try:
        return wall() if file is None else file.stat().st_mtime
    except OSError:
        return wall()
