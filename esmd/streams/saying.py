"""What a shard says of a page: what came, and what no filter matched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.observe.mapping_events import RecordFiltered, RecordsReceived

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from esmd.mappings.records import Record
    from esmd.streams.settings import Surroundings


def say_page(
    around: Surroundings,
    shard: str,
    raws: Sequence[Mapping[str, Any]],
    runs: Sequence[tuple[Sequence[Record], str | None]],
    *,
    numbers_of: Callable[[Sequence[Mapping[str, Any]]], Sequence[str]],
) -> None:
    """Emit `records.received` and, where that is so, `record.filtered`.

    Args:
        around: of the mapping.
        shard: its id.
        raws: the records as they came; at least one.
        runs: what was admitted of them, see `StreamIntake.admit`.
        numbers_of: their sequence numbers. Not all are looked up where all records are admitted.
    """
    mapping = around.settings.name
    around.telemetry.emit(
        RecordsReceived(
            mapping=mapping,
            shard=shard,
            records=len(raws),
            first_sequence_number=numbers_of(raws[:1])[0],
            last_sequence_number=numbers_of(raws[-1:])[0],
        )
    )
    if sum(len(records) for records, _ in runs) < len(raws):
        matched = {record.id for records, _ in runs for record in records}
        ids = tuple([number for number in numbers_of(raws) if number not in matched])
        around.telemetry.emit(RecordFiltered(mapping=mapping, shard=shard, records=len(ids), ids=ids))
