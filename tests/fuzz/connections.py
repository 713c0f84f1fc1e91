"""What the targets of connections share."""

from __future__ import annotations


def pieces(data: bytes) -> list[bytes]:
    """An input as a connection brings it: in pieces of one size, which depends on its length; only the last may be shorter."""
    size = 1 + len(data) % 4099
    return [data[start : start + size] for start in range(0, len(data), size)]
