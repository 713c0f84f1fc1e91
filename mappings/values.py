"""`dataclass` for values that are made for every batch: as `dataclasses.dataclass`, but quick to make.

A frozen dataclass sets each of its fields by a call, which makes it two to three times as dear as one that is not. These
are frozen in the eyes of the type checker, which sees every line of ours, and hashed as frozen ones are; at run time
nothing stands in the way of setting a field. Import `dataclass` from here and write `frozen=True` as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(*, frozen: bool, **options: bool) -> Callable[[type], type]:
        """See the module."""
        return dataclasses.dataclass(**options, unsafe_hash=frozen)


__all__ = ["dataclass"]
