"""Reads the arguments of `esmd event`: texts and files, items and what happened to them, mappings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from esmd.cli.configuration import load_configuration
from esmd.dev.sample_events import Change, made_up_order
from esmd.mappings.exact_json import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from esmd.config.schema import AnyMapping
    from esmd.mappings.filters import Source

T = TypeVar("T")


def read_changes(
    items: Sequence[str], old_items: Sequence[str], event_name: str | None, keys: Sequence[str], count: int | None
) -> list[Change]:
    """What happened to the items: read from the options, or made up."""
    new = [_item(text, "--item", keys) for text in items]
    old = [_item(text, "--old", keys) for text in old_items]
    if not new and not old:

        def made_up(number: int) -> Change:
            now = made_up_order(number)
            then = None if event_name in {None, "INSERT"} else {**now, "amount": now["amount"] + 1}
            return Change(then, None if event_name == "REMOVE" else now)

        return repeat([], count, made_up)
    if new and old and len(new) != len(old):
        raise click.UsageError(f"{len(new)} --item and {len(old)} --old: give as many of one as of the other")
    changes = [Change(*images) for images in itertools.zip_longest(old, new)]
    if event_name not in {None, changes[0].event_name}:
        raise click.UsageError(f"--event-name {event_name}: with these images it is {changes[0].event_name}")
    for number, change in enumerate(changes, start=1):
        if change.event_name == "MODIFY" and change.old == change.new:
            raise click.UsageError(f"item {number} does not change: DynamoDB writes no record then")
        if change.old and change.new and any(change.old[key] != change.new[key] for key in keys):
            raise click.UsageError(f"item {number}: --item and --old have different keys, so they are two items")
    return repeat(changes, count, lambda _: changes[0])


def _item(text: str, option: str, keys: Sequence[str]) -> dict[str, Any]:
    try:
        item = decode(read_text(text))
    except json.JSONDecodeError as error:
        raise click.BadParameter(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}", param_hint=option
        ) from error
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from error
    if not isinstance(item, dict):
        raise click.BadParameter("an item is an object", param_hint=option)
    for key in keys:
        if key not in item:
            raise click.BadParameter(f"the item has no attribute {key!r}; name its key with --key", param_hint=option)
        if isinstance(item[key], bool | list | dict) or item[key] in {None, ""}:
            raise click.BadParameter(f"the key {key!r} has to be text or a number", param_hint=option)
    return item


def repeat(given: Sequence[T], count: int | None, make_up: Callable[[int], T]) -> list[T]:
    """As many as asked for: the given ones in turn, or made up (numbered from 1)."""
    if not given:
        return [make_up(number) for number in range(1, (count or 1) + 1)]
    endless: Iterable[T] = itertools.cycle(given)
    return list(itertools.islice(endless, count or len(given)))


def read_content(argument: str) -> bytes:
    """Bytes of `TEXT` or `@FILE`."""
    if not argument.startswith("@"):
        return argument.encode(errors="surrogateescape")
    try:
        return Path(argument[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"cannot read {argument[1:]!r}: {error.strerror}") from error


def read_text(argument: str) -> str:
    """The same as text."""
    try:
        return read_content(argument).decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"not UTF-8 at byte {error.start + 1}") from error


def read_pair(argument: str) -> tuple[str, str]:
    """Name and value of `NAME=TEXT`."""
    name, separator, value = argument.partition("=")
    if not name or not separator or not value:
        raise click.BadParameter(f"{argument!r} is not NAME=TEXT, both at least a character", param_hint="--attribute")
    return name, value


def check(parse: Callable[[str], T], text: str, option: str) -> T:
    """What `parse` makes of the text; its `ValueError` is the user's."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def find_mapping(name: str, kind: Source, paths: Sequence[Path]) -> AnyMapping:
    """The mapping of that name, which has to be of that kind."""
    mappings = load_configuration(paths, warnings=[]).mappings
    if name not in mappings:
        known = ", ".join(sorted(mappings)) or "none"
        raise click.BadParameter(f"there is no mapping {name!r}; there are: {known}", param_hint="--mapping")
    mapping = mappings[name]
    if mapping.source != kind:
        raise click.BadParameter(
            f"the mapping {name!r} reads from {mapping.source}: esmd event {mapping.source}", param_hint="--mapping"
        )
    return mapping
