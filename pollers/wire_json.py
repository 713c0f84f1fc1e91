"""The JSON of answers.

| an answer                                       | is read by        |
|-------------------------------------------------|-------------------|
| of `LARGE_BYTES` and more, msgspec is installed | msgspec           |
| any other                                       | pydantic's parser |
| that these refuse                               | `json`, which takes half surrogate pairs, and says what is wrong |

msgspec is an extra (`esmd[fast]`): a third less CPU for pages of a stream, and nothing else. All keep integers of any size exact.
"""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable


class ProtocolError(Exception):
    """What came back is not what the service speaks: botocore may understand it, this client does not."""


LARGE_BYTES = 16 * 1024
"""An answer from which on a quicker parser is worth its import. Below it there is nothing between the two."""

_small = partial(from_json, cache_strings="keys")


@cache
def _large() -> Callable[[bytes | bytearray], Any]:
    """The quickest parser that is installed. What it raises is a `ValueError`, or a `RecursionError`."""
    try:
        import msgspec  # noqa: PLC0415 - it may be missing
    except ImportError:
        return _small
    decode: Callable[[bytes | bytearray], Any] = msgspec.json.Decoder().decode
    return decode


def parsed(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of an answer's body: integers exact, no member null. No body at all is an empty one, as for botocore.

    Raises:
        ProtocolError: it is none.
    """
    if not body:
        return {}
    try:
        value = _small(body) if len(body) < LARGE_BYTES else _large()(body)
    except (ValueError, RecursionError):
        value = _patiently_parsed(body)
    if type(value) is not dict:
        raise ProtocolError(f"the answer is no JSON object: {bytes(body[:40])!r}")
    # Some servers write null where others write nothing, and botocore makes them equal.
    if None in value.values():
        return {name: member for name, member in value.items() if member is not None}
    return value


def _patiently_parsed(body: bytes | bytearray) -> Any:
    """With the standard library, which takes lone surrogates, and says what is wrong."""
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is no JSON: {error}: {bytes(body[:40])!r}") from error
