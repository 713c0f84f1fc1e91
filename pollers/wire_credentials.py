"""Credentials for a signer of our own: fixed ones, or an aiobotocore client's, fresh, and renewed by force only now and then."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from esmd.pollers.errors import SourceError, classify
from esmd.pollers.sigv4 import Keys

if TYPE_CHECKING:
    from collections.abc import Callable

FORCE_SECONDS = 30.0
"""Least time between two renewals by force: all of a mapping's calls may find a token expired at once."""


class KeySource(Protocol):
    """What signs. Both raise a `SourceError` where there are no keys."""

    async def keys(self) -> Keys:
        """The keys to sign with now. Cheap, unless they have to be renewed."""
        ...

    async def renewed(self, used: Keys) -> Keys:
        """The keys after a service called the token of `used` expired; the same ones if no others can be had."""
        ...


class FixedKeys:
    """A `KeySource` that has always the same."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def keys(self) -> Keys:
        """See `KeySource.keys`."""
        return self._keys

    async def renewed(self, _used: Keys) -> Keys:
        """See `KeySource.renewed`."""
        return self._keys


class Credentials:
    """The `KeySource` of an aiobotocore client.

    Args:
        source: an aiobotocore client's credentials, which look after their own renewal; None if there are none.
        clock: seconds, to measure time with.
    """

    def __init__(self, source: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._forced_at: float | None = None

    async def keys(self) -> Keys:
        """See `KeySource.keys`."""
        try:
            if self._source is None:
                from botocore.exceptions import NoCredentialsError  # noqa: PLC0415 - heavy; botocore is loaded by then

                raise NoCredentialsError  # noqa: TRY301 - classified below, like botocore's own
            frozen = await self._source.get_frozen_credentials()
        except Exception as error:
            raise SourceError(classify(error)) from error
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    async def renewed(self, used: Keys) -> Keys:
        """See `KeySource.renewed`."""
        async with self._renewing:
            keys = await self.keys()
            # botocore renews by the token's own time and has no public way to do it earlier.
            renew = getattr(self._source, "_protected_refresh", None)
            now = self._clock()
            if keys != used or renew is None or (self._forced_at is not None and now < self._forced_at + FORCE_SECONDS):
                return keys
            self._forced_at = now
            try:
                await renew(is_mandatory=True)
            except asyncio.CancelledError:
                self._forced_at = None  # nobody knows whether it was renewed: the next one who asks sees to it
                raise
            except Exception as error:
                raise SourceError(classify(error)) from error
            return await self.keys()
