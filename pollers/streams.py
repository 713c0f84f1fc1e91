"""What Kinesis and DynamoDB Streams have in common for a mapping: shards, positions, pages of records, and their errors.

`StreamApi` is what the rest of the house sees of a stream; `esmd.pollers.kinesis` and `esmd.pollers.dynamodb` do it
through aiobotocore. Every error leaves them as a `SourceError`, classified by `stream_failure`:

| call                   | error                                         | kind          | because                            |
|------------------------|-----------------------------------------------|---------------|------------------------------------|
| `describe, list`       | ResourceNotFound                              | `RECONFIGURE` | the stream is missing              |
| `iterator, read`       | ResourceNotFound                              | `RE_SEEK`     | the shard is; perhaps the stream   |
| `iterator, read`       | ExpiredIterator, TrimmedDataAccess            | `RE_SEEK`     | the place is too old               |
| `read`                 | InvalidArgument, ValidationException          | `RE_SEEK`     | the iterator is stale              |
| `iterator`, a number   | InvalidArgument, ValidationException          | `RE_SEEK`     | the shard does not know the number |
| any                    | throttled, 5xx, no answer, stream in change   | `BACK_OFF`    | it passes                          |
| any                    | access denied, KMS key unusable               | `RECONFIGURE` | someone has to act                 |
| any                    | other 4xx                                     | `REFUSED`     | the request stays wrong            |

A reader that meets a `RE_SEEK` asks `seek_again` where to look next; it never goes back to the mapping's starting
position.

`LATEST` means "now" to the service, each time `iterator` is called with it. Whoever holds a reader at `LATEST` until the
first record comes must not ask for it again after a failure or a restart: what arrived in between would be lost.
`pinned` turns it into a position that keeps, as of a moment before the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol

from esmd.pollers.errors import Failure, Kind, SourceError, classify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Call = Literal["describe", "list", "iterator", "read"]
"""The four calls of `StreamApi`."""

STALE_AFTER = 3
"""After so many `may_be_stale` failures of `read` in a row, its iterator is no longer trusted."""

PIN_LEEWAY = 5.0
"""How far, in seconds, the stream's clock may be behind ours where `LATEST` is pinned."""

_INVALID = frozenset({"InvalidArgumentException", "ValidationException", "SerializationException"})
_TRIMMED = "TrimmedDataAccessException"
_MISSING = "ResourceNotFoundException"
_SEQUENCE_NUMBER = itemgetter("SequenceNumber")


class Place(Enum):
    """How a position in a shard is given: the API's `ShardIteratorType`."""

    TRIM_HORIZON = "TRIM_HORIZON"
    LATEST = "LATEST"
    AT_TIMESTAMP = "AT_TIMESTAMP"
    AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER"
    AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"


@dataclass(frozen=True, slots=True)
class Seek:
    """A position in a shard. Made by its class methods, or one of `TRIM_HORIZON` and `LATEST`.

    Attributes:
        place: which kind of position.
        timestamp: epoch seconds, for `AT_TIMESTAMP` only.
        sequence_number: decimal text, for the two kinds that name a record.
    """

    place: Place
    timestamp: float | None = None
    sequence_number: str | None = None

    def __post_init__(self) -> None:
        if (self.timestamp is not None) != (self.place is Place.AT_TIMESTAMP):
            raise ValueError(f"{self.place.value} and a timestamp of {self.timestamp} do not go together")
        if (self.sequence_number is not None) != self.names_record:
            raise ValueError(f"{self.place.value} and a sequence number of {self.sequence_number} do not go together")

    @property
    def names_record(self) -> bool:
        """Whether it is given by a sequence number."""
        return self.place in {Place.AT_SEQUENCE_NUMBER, Place.AFTER_SEQUENCE_NUMBER}

    @classmethod
    def at_time(cls, timestamp: float) -> Seek:
        """From the first record that arrived at `timestamp` (epoch seconds) or later."""
        return cls(Place.AT_TIMESTAMP, timestamp=timestamp)

    @classmethod
    def at(cls, sequence_number: str) -> Seek:
        """From this record on."""
        return cls(Place.AT_SEQUENCE_NUMBER, sequence_number=sequence_number)

    @classmethod
    def after(cls, sequence_number: str) -> Seek:
        """From the record behind this one."""
        return cls(Place.AFTER_SEQUENCE_NUMBER, sequence_number=sequence_number)


TRIM_HORIZON = Seek(Place.TRIM_HORIZON)
"""The oldest record that is kept."""

LATEST = Seek(Place.LATEST)
"""What arrives from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """A stream as it is now.

    Attributes:
        arn: the stream's; of a DynamoDB stream it ends with its label and so changes when it is made anew.
        created_at: epoch seconds as text of fixed precision. With the ARN it is the stream's identity: a stream that
            was deleted and made again under its name has another one, and old sequence numbers mean nothing in it.
        retention: how long records are kept, in seconds; None where the service does not say.
        status: `ACTIVE`, `CREATING`, `UPDATING`, `DELETING`; DynamoDB's `ENABLED`, `ENABLING`, `DISABLING`, `DISABLED`.
            A disabled stream can still be read.
    """

    arn: str
    created_at: str
    retention: float | None
    status: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the listing shows it.

    Attributes:
        id: unique within the stream's identity.
        parents: none, one (split, roll-over) or two (merge); they may have been trimmed and be in no listing.
        starting_sequence_number: decimal text; some servers do not say.
        closed: whether nothing can be written to it any more.
    """

    id: str
    parents: tuple[str, ...] = ()
    starting_sequence_number: str | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What one read brought.

    Attributes:
        records: in order, with the API's member names; blobs are base64 text, times are epoch seconds as numbers.
            It may be empty though more records follow.
        next_iterator: for the next read; None when the shard is closed and these were its last records.
        millis_behind: how far behind the newest record this read ended; 0 is caught up, None where unknown.
        children: the shards that go on where a closed one ends, with the last page of Kinesis only.
    """

    records: Sequence[Mapping[str, Any]]
    next_iterator: str | None
    millis_behind: int | None = None
    children: tuple[Shard, ...] = ()


class StreamApi(Protocol):
    """The calls a mapping makes on its stream. All raise `SourceError` [specification B.2]."""

    async def describe(self) -> StreamInfo:
        """Read what the stream is."""
        ...

    async def list_shards(self) -> list[Shard]:
        """All shards, open and closed, as many pages as it takes. 10 to 1,000 calls per second are allowed."""
        ...

    async def iterator(self, shard_id: str, position: Seek) -> str:
        """Where to read next in a shard. It lives 5 minutes (Kinesis) or 15 (DynamoDB), unused or used."""
        ...

    async def read(self, iterator: str, limit: int) -> Page:
        """The next records, at most `limit`: 1 to 10,000 (Kinesis, 10 MiB) or 1 to 1,000 (DynamoDB, 1 MB)."""
        ...


class StreamClients(Protocol):
    """Where the pollers get their clients from: `esmd.pollers.localstack.LocalStackClients`."""

    async def client(self, service: str, region: str | None, *, raw: bool) -> tuple[Any, Any]:
        """The shared client of a service, and what it connects to."""
        ...


def stream_failure(error: BaseException, call: Call, *, stream_arn: str, position: Seek | None = None) -> SourceError:
    """Classify what a call on a stream raised, by the module's table.

    Args:
        error: anything aiobotocore raises, or an error of the same form.
        call: what was asked.
        stream_arn: for the message about a missing stream.
        position: of an `iterator` call.
    """
    failure = error.failure if isinstance(error, SourceError) else classify(error)
    kind, message = failure.kind, failure.message
    if failure.code == _MISSING:
        if call in ("describe", "list"):
            message = f"Stream not found: {stream_arn}"  # AWS's text for a mapping without its stream
        else:
            kind = Kind.RE_SEEK
    elif failure.code in _INVALID and (call == "read" or (position is not None and position.names_record)):
        kind = Kind.RE_SEEK
    return SourceError(Failure(kind, failure.code, message, failure.status))


def may_be_stale(failure: Failure) -> bool:
    """Whether a failed `read` may mean a stale iterator: some servers answer it with an internal error, status 500.

    After `STALE_AFTER` of them in a row, get a new iterator for the same position; sooner is needless, later is stuck.
    """
    return failure.kind is Kind.BACK_OFF and failure.status == 500


def seek_again(position: Seek, failure: Failure, *, call: Call) -> Seek | None:
    """Where a shard's reader looks next, after a `RE_SEEK` failure of `iterator` or `read`.

    | failure                        | of         | next                                                                 |
    |--------------------------------|------------|----------------------------------------------------------------------|
    | ResourceNotFound               | either     | None: list the shards anew; one that is not there any more has ended |
    | TrimmedDataAccess              | either     | `TRIM_HORIZON`: what was before it is gone                           |
    | InvalidArgument, a number      | `iterator` | `TRIM_HORIZON`: twice is better than never                           |
    | anything else                  | either     | `position`, with a new iterator                                      |

    Args:
        position: where the reader is: after the last record it has dealt with, or where it started (`pinned`).
        failure: the classified error.
        call: `iterator` or `read`.
    """
    if failure.code == _MISSING:
        return None
    if failure.code == _TRIMMED or (call == "iterator" and position.names_record):
        return TRIM_HORIZON
    return position


def pinned(position: Seek, before: float) -> Seek:
    """`LATEST` as a position that can be asked for again.

    Args:
        position: where a shard is to be read first; anything but `LATEST` comes back as it is.
        before: the time just before `LATEST` was first asked for, in epoch seconds. `PIN_LEEWAY` is taken off, since
            the stream's clock is not ours: too early delivers more than was asked, too late loses.
    """
    return Seek.at_time(before - PIN_LEEWAY) if position.place is Place.LATEST else position


def epoch_text(value: float | None) -> str:
    """A time of an answer as text with milliseconds; servers differ in how many digits they repeat."""
    return "unknown" if value is None else f"{float(value):.3f}"


def described(answer: Mapping[str, Any], member: str) -> dict[str, Any]:
    """The description in an answer, without what is null; raises a `SourceError` where there is none."""
    found = answer.get(member)
    if not isinstance(found, dict):
        raise _malformed(f"there is no {member}")
    return {name: value for name, value in found.items() if value is not None}


def shards_in(answer: Mapping[str, Any]) -> list[Shard]:
    """The shards of a page of a listing; raises a `SourceError` for what is none."""
    items = answer.get("Shards", [])
    if not isinstance(items, list):
        raise _malformed("the Shards are no list")
    return [shard_of(item) for item in items]


def shard_of(item: Any) -> Shard:
    """A shard of a listing, of either service; raises a `SourceError` for one without an id, or of another form."""
    if not isinstance(item, dict):
        raise _malformed("a shard is no object")
    parents = (item.get("ParentShardId"), item.get("AdjacentParentShardId"))
    numbers = item.get("SequenceNumberRange") or {}
    if not isinstance(numbers, dict):
        raise _malformed("a shard's SequenceNumberRange is no object")
    return Shard(
        id=_named(item.get("ShardId")),
        parents=tuple(_named(parent) for parent in parents if parent),
        starting_sequence_number=numbers.get("StartingSequenceNumber"),
        closed=bool(numbers.get("EndingSequenceNumber")),
    )


def child_of(item: Any) -> Shard:
    """A shard that goes on where a closed one ends; raises a `SourceError` for what is none."""
    parents = item.get("ParentShards") or [] if isinstance(item, dict) else None
    if not isinstance(parents, list):
        raise _malformed("a child shard has another form")
    return Shard(_named(item.get("ShardId")), tuple(_named(parent) for parent in parents))


def first_iterator(answer: Mapping[str, Any]) -> str:
    """The iterator that was asked for; raises a `SourceError` where there is none."""
    found = answer.get("ShardIterator")
    if not isinstance(found, str) or not found:
        raise _malformed("there is no iterator")
    return found


def next_iterator(answer: Mapping[str, Any]) -> str | None:
    """Where to read on after a page; None at a closed shard's end. Raises a `SourceError` for what is no text.

    A shard would end for good by a mistake here, so only nothing at all is taken for its end.
    """
    found = answer.get("NextShardIterator")
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise _malformed("the next iterator is no text")
    return found


def check_progress(page: Sequence[Shard], known: Mapping[str, Shard], *, more: bool) -> None:
    """Raise a `SourceError` if a page of a listing repeats what is known and promises more: it would never end."""
    if more and page and all(shard.id in known for shard in page):
        raise _malformed("the listing of shards repeats itself")


def records_of(answer: Mapping[str, Any]) -> Sequence[Any]:
    """The records of a read. Raises a `SourceError` for an answer that says nothing at all.

    Without a next iterator it would be a shard's end; an empty answer must not be taken for one, or all that the shard
    still holds would never be read.
    """
    records = answer.get("Records")
    if records is None and not answer.get("NextShardIterator"):
        raise _malformed("a read was answered with neither records nor an iterator")
    return () if records is None else records


def check_numbers(records: Iterable[Any], *, within: str | None = None) -> None:
    """Raise a `SourceError` unless every record has a sequence number: order and progress stand on them.

    Args:
        records: as they came.
        within: the member that has the number; None if that is the record itself.
    """
    places = records if within is None else map(itemgetter(within), records)
    try:
        numbers = list(map(_SEQUENCE_NUMBER, places))
        # All of them in one go and in C, for this is done to every record there is.
        if not numbers or (all(numbers) and "".join(numbers).encode().isdigit()):
            return
    except (KeyError, TypeError, IndexError, UnicodeEncodeError):
        pass
    raise _malformed("a record has no sequence number")


def _named(shard_id: Any) -> str:
    if not isinstance(shard_id, str) or not shard_id:
        raise _malformed("a shard has no id")
    return shard_id


def _malformed(message: str) -> SourceError:
    return SourceError(Failure(Kind.BACK_OFF, "MalformedAnswer", message))
