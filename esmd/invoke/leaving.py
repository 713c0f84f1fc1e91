"""How execution environments leave: asked first, then told by SIGTERM, then killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esmd.invoke.environment import Environment
    from esmd.invoke.process import LeaveCause


async def see_off(environments: Sequence[Environment], cause: LeaveCause, *, seconds: float) -> None:
    """Let environments leave that do nothing; returns when all are gone.

    Args:
        environments: those.
        cause: why.
        seconds: how long one may take, first when asked, then again after SIGTERM.
    """
    ends = [environment.ended for environment in environments]
    for environment in environments:
        environment.leave(cause)
    try:
        _, staying = await asyncio.wait(ends, timeout=seconds)
        if staying:
            for environment in environments:
                environment.terminate()
            await asyncio.wait(ends, timeout=seconds)
    finally:  # also where something has cancelled this: one that stays would keep its place
        for environment in environments:
            if not environment.ended.done():
                environment.kill("shutdown")
        await asyncio.gather(*(environment.gone() for environment in environments))
