"""Which event loop the daemon runs on.

| `ESMD_LOOP`         | uvloop is installed | the loop                          |
|---------------------|---------------------|-----------------------------------|
| not set, or `auto`  | yes                 | uvloop's                          |
| not set, or `auto`  | no                  | asyncio's own                     |
| `asyncio`           | either              | asyncio's own                     |
| `uvloop`            | yes                 | uvloop's                          |
| `uvloop`            | no                  | none: `LoopError` says how to get it |
| anything else       | either              | none: `LoopError`                 |

uvloop is an extra (`esmd[fast]`): a tenth to a fifth less CPU per message, and nothing else.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

VARIABLE = "ESMD_LOOP"

_NEW_OBJECTS = 50_000
"""Objects that come to be before the collector looks for cycles among them."""


class LoopError(Exception):
    """The loop that was asked for cannot be had; `str()` of it is a sentence for the user."""


def loop_factory(environ: Mapping[str, str]) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop, for `asyncio.Runner`; None for asyncio's own.

    Raises:
        LoopError: by the table above.
    """
    wanted = environ.get(VARIABLE) or "auto"
    if wanted not in ("auto", "asyncio", "uvloop"):
        raise LoopError(f"{VARIABLE} must be auto, asyncio or uvloop, not {wanted!r}")
    if wanted == "asyncio":
        return None
    if importlib.util.find_spec("uvloop") is None:
        if wanted == "uvloop":
            raise LoopError(f"{VARIABLE} is uvloop, which is not installed: pip install 'esmd[fast]'")
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)


def settle_garbage() -> None:
    """Tell the garbage collector that what has been imported stays, and to look less often.

    It is not looked through once before: the little that could be freed is not worth the time, for which the start waits.

    Records live for as long as their batch does, and are freed by their last user: looking through all of them for
    cycles at every seven hundredth new object costs a tenth of the work on large batches, and finds nothing.
    """
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 50)
