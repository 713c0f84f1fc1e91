"""Which function gets what is replayed, and by which mapping's rules.

| a mapping reads the stream and               | function                        | filter, lanes, partial answers by |
|----------------------------------------------|---------------------------------|-----------------------------------|
| invokes the function that is asked for       | that one                        | that mapping                      |
| invokes the one that failed                  | that one, or the one asked for  | that mapping                      |
| invokes another one                          | that one, or the one asked for  | that mapping                      |
| there is none, a function is asked for       | that one                        | none                              |
| there is none, the one that failed is known  | that one                        | none                              |
| there is none, nor such a function           | refused                         | -                                 |

The first row that holds counts. The same for queues, with the queue in place of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esmd.pollers.dynamodb import LATEST_LABEL

if TYPE_CHECKING:
    from esmd.config.schema import AnyMapping, Config


class NoRouteError(Exception):
    """Nobody is known who could handle it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Route:
    """The function, by name, and the mapping whose rules hold; None where no mapping reads that source."""

    function: str
    mapping: AnyMapping | None


def route(config: Config, source_arn: str, *, failed: str | None, wanted: str | None) -> Route:
    """Where to send what came from a source, by the module's table.

    Args:
        config: validated; `wanted` is a function of it.
        source_arn: of the stream or queue.
        failed: name of the function that could not process it, if that is known.
        wanted: the function that is asked for.

    Raises:
        NoRouteError: see the table.
    """
    readers = [mapping for mapping in config.mappings.values() if _reads(mapping.event_source_arn, source_arn)]
    for name in (wanted, failed):
        for mapping in readers:
            if name is not None and mapping.function_name == name:
                return Route(wanted or name, mapping)
    if readers:
        return Route(wanted or readers[0].function_name, readers[0])
    if wanted is not None:
        return Route(wanted, None)
    if failed in config.functions:
        return Route(failed, None)
    raise NoRouteError(
        f"no mapping reads {source_arn}"
        + (f" and there is no function {failed}" if failed else "")
        + ": name one with --function"
    )


def _reads(configured: str, arn: str) -> bool:
    """Whether a mapping's source is that one; a table's stream may be configured by the label `latest`."""
    table, separator, label = configured.rpartition("/stream/")
    return configured == arn or (bool(separator) and label == LATEST_LABEL and arn.startswith(f"{table}/stream/"))
