"""What the walk of `test_cancellation.py` found in the calls to AWS, a test for each."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from esmd.pollers.wire_credentials import Credentials

from support.walked_pollers import ExpiringKeys


async def test_keys_whose_renewal_was_cancelled_are_renewed_by_whoever_asks_next() -> None:
    # For half a minute every call of every mapping was refused, with a token known to be expired.
    credentials = Credentials(ExpiringKeys())
    used = await credentials.keys()
    asking: asyncio.Task[Any] = asyncio.create_task(credentials.renewed(used))
    while credentials._forced_at is None:
        await asyncio.sleep(0)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    assert (await credentials.renewed(used)).access_key == "second"
