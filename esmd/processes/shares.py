"""Divides a configuration among processes: each gets its part of every limit, and together they never exceed one.

Of a limit of `n`, the process in place `i` of `p` gets `n // p`, and one more if `i < n % p`:

| setting                                     | divided                                                           |
|---------------------------------------------|-------------------------------------------------------------------|
| `reserved_concurrency`, set or left out     | yes                                                               |
| `provisioned_concurrency`                   | yes                                                               |
| `scaling_config.maximum_concurrency`        | yes                                                               |
| `provisioned_poller_config`, both numbers   | yes; whoever may have pollers keeps one at least                  |
| everything else                             | no: it is about one batch, one shard, one message                 |

A mapping runs in the processes whose parts are all more than nothing. Places are turned from function to function, so that
small limits do not all fall to the first process; functions that route to each other have the same turn, else no process
might have a part of all of them. A function whose limit is 0 is stopped: the process in the first place says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esmd.config.schema import InvokedFunction, ProcessFunction, RoutedFunction, SqsMapping
from esmd.functions import most_at_once

if TYPE_CHECKING:
    from esmd.config.schema import AnyMapping, Config


def share(limit: int, place: int, processes: int) -> int:
    """The part of a limit that falls to a place (from 0)."""
    return limit // processes + (place < limit % processes)


def divided(config: Config, process: int, processes: int) -> Config:
    """What one process (a number from 0) is to run: its mappings, and its parts of the limits. Disabled ones are left out."""
    places = _places(config, process, processes)
    functions = {
        name: _function(function, places[name], processes) if isinstance(function, InvokedFunction) else function
        for name, function in config.functions.items()
    }
    mappings = {}
    for name, mapping in config.mappings.items():
        place = places[mapping.function_name]
        part = _mapping(mapping, place, processes)
        if mapping.enabled and part is not None and _runs(config, mapping, place, processes):
            mappings[name] = part
    return config.model_copy(update={"functions": functions, "mappings": mappings})


def _places(config: Config, process: int, processes: int) -> dict[str, int]:
    """The place of this process, for each function."""
    first = {name: name for name in config.functions}

    def root(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    for name, function in config.functions.items():
        if isinstance(function, RoutedFunction):
            for version in function.versions:
                first[root(version)] = root(name)
    turns = {group: turn for turn, group in enumerate(dict.fromkeys(root(name) for name in config.functions))}
    return {name: (process - turns[root(name)]) % processes for name in config.functions}


def _function(function: InvokedFunction, place: int, processes: int) -> InvokedFunction:
    parts: dict[str, Any] = {"reserved_concurrency": share(most_at_once(function), place, processes)}
    if isinstance(function, ProcessFunction):
        parts["provisioned_concurrency"] = share(function.provisioned_concurrency, place, processes)
    return function.model_copy(update=parts)


def _runs(config: Config, mapping: AnyMapping, place: int, processes: int) -> bool:
    """Whether the functions that a mapping invokes have a part in this place."""
    limits = [
        most_at_once(function)
        for name, weight in config.versions_of(mapping.function_name).items()
        if weight and isinstance(function := config.functions[name], InvokedFunction)
    ]
    allowed = [limit for limit in limits if limit]
    return all(share(limit, place, processes) for limit in allowed) if allowed else place == 0


def _mapping(mapping: AnyMapping, place: int, processes: int) -> AnyMapping | None:
    """The mapping with its part of its own limits; None where that is nothing."""
    if not isinstance(mapping, SqsMapping):
        return mapping
    parts: dict[str, Any] = {}
    if (most := mapping.scaling_config.maximum_concurrency) is not None:
        if not (part := share(most, place, processes)):
            return None
        parts["scaling_config"] = mapping.scaling_config.model_copy(update={"maximum_concurrency": part})
    if (pollers := mapping.provisioned_poller_config) is not None:
        if not (most_pollers := share(pollers.maximum_pollers, place, processes)):
            return None
        fewest = max(1, share(pollers.minimum_pollers, place, processes))
        numbers = {"minimum_pollers": fewest, "maximum_pollers": most_pollers}
        parts["provisioned_poller_config"] = pollers.model_copy(update=numbers)
    return mapping.model_copy(update=parts)
