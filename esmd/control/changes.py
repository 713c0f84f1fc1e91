"""What a new configuration changes in a running daemon.

| what differs                                    | what follows                                                    |
|-------------------------------------------------|-----------------------------------------------------------------|
| a mapping is new                                | it begins                                                       |
| a mapping's settings                            | it drains, and goes on with the new ones                        |
| a mapping is not there any more                 | it drains, and is gone; its positions are kept                  |
| a function's settings, or where it belongs      | its mappings drain, and go on with the new one; the old is closed |
| a function that others route to                 | the same for those that route to it                             |
| a function is not there any more                | it is closed once its mappings have drained                     |
| `aws`, `state`, `api`                           | nothing until the daemon is started anew                        |

What differs in nothing is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.functions import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.config.schema import AnyMapping, Config

FIXED = ("aws", "state", "api")
"""Sections that are read at the start only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What to do; names in the order of the new configuration, of what is gone in that of the old one.

    Attributes:
        config: the one to go on with: the new one, but for what cannot change.
        added: mappings.
        changed: mappings that have other settings, or another function.
        removed: mappings.
        unchanged: mappings.
        stale: functions that were added, changed or removed, or that route to such a one.
        functions: the same, in order.
        restart_needed: settings that differ and cannot change, such as `aws.endpoint_url`.
    """

    config: Config
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    stale: frozenset[str]
    functions: tuple[str, ...]
    restart_needed: tuple[str, ...]


def compare(
    old: Config,
    new: Config,
    *,
    beside: Mapping[str, AnyMapping] | None = None,
    only: frozenset[str] = frozenset(),
) -> Changes:
    """What leads from one configuration to the other.

    Args:
        old: in force.
        new: validated.
        beside: mappings that are in neither, such as those made through the API; `changed` and `unchanged` tell of
            them too.
        only: names of the mappings that count; empty for all.
    """
    stale = _stale_functions(old, new)
    before, now = ({**_chosen(config, only), **(beside or {})} for config in (old, new))
    both = [name for name in now if name in before]
    changed = [name for name in both if before[name] != now[name] or now[name].function_name in stale]
    return Changes(
        config=new.model_copy(update={section: getattr(old, section) for section in FIXED}),
        added=tuple(name for name in now if name not in before),
        changed=tuple(changed),
        removed=tuple(name for name in before if name not in now),
        unchanged=tuple(name for name in both if name not in changed),
        stale=stale,
        functions=tuple(name for name in {**new.functions, **old.functions} if name in stale),
        restart_needed=tuple(_restart_needed(old, new)),
    )


def _chosen(config: Config, only: frozenset[str]) -> dict[str, AnyMapping]:
    return {name: mapping for name, mapping in config.mappings.items() if not only or name in only}


def _stale_functions(old: Config, new: Config) -> frozenset[str]:
    differ = {
        name
        for name, settings in old.functions.items()
        if new.functions.get(name) != settings or _place(old, name) != _place(new, name)
    }
    added = set(new.functions) - set(old.functions)
    routes = {name for name in old.functions if differ & set(old.versions_of(name))}
    # Of one that is new nothing is in use, but a mapping may have been waiting for it.
    return frozenset(differ | routes | added)


def _place(config: Config, function: str) -> tuple[str, str] | None:
    """Region and account that a function takes from the first mapping that uses it."""
    for mapping in config.mappings.values():
        if function == mapping.function_name or function in config.versions_of(mapping.function_name):
            return place_of(mapping)
    return None


def _restart_needed(old: Config, new: Config) -> Iterable[str]:
    for section in FIXED:
        before, now = getattr(old, section), getattr(new, section)
        for name in type(before).model_fields:
            if getattr(before, name) != getattr(now, name):
                yield f"{section}.{name}"
