"""Ids of batches and requests: unguessable where nobody has to guess them, and quick, because every batch has two."""

from __future__ import annotations

import random

_source = random.SystemRandom()
_chance = random.Random(_source.getrandbits(256))  # seeded by the system: no two processes draw the same


def new_batch_id() -> str:
    """Twelve hexadecimal digits, as short as a log line can bear and a person can compare."""
    return f"{_chance.getrandbits(48):012x}"


def new_request_id() -> str:
    """A UUID of version 4, as Lambda's request ids are."""
    digits = f"{_chance.getrandbits(128) & _KEPT | _VERSION:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_VERSION = (4 << 76) | (2 << 62)
"""The bits that say version 4 and the variant of RFC 9562."""

_KEPT = ~((15 << 76) | (3 << 62))
"""All bits but those."""
