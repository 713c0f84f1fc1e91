"""Queues and prefixes as a person names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from esmd.config.values import queue_arn

_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")


@dataclass(frozen=True, slots=True)
class QueueName:
    """A queue as a person names it: `url` or `account` may be unknown."""

    name: str
    region: str | None = None
    account: str | None = None
    url: str | None = None

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")


def parse_queue(text: str) -> QueueName:
    """A queue's name, URL or ARN.

    Raises:
        ValueError: it is none of them.
    """
    if text.startswith("arn:"):
        arn = queue_arn(text)
        return QueueName(arn.name, arn.region, arn.account_id)
    if text.startswith(("http://", "https://")):
        name = urlsplit(text).path.rstrip("/").rpartition("/")[2]
        region = re.match(r"sqs\.([a-z0-9-]+)\.amazonaws\.", urlsplit(text).hostname or "")
        if _NAME.fullmatch(name):
            return QueueName(name, region=None if region is None else region[1], url=text)
    if _NAME.fullmatch(text):
        return QueueName(text)
    raise ValueError(f"{text[:100]!r} is neither a queue's name nor its URL nor its ARN")


_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?", re.DOTALL)


def parse_s3(text: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://BUCKET/PREFIX`.

    Raises:
        ValueError: it is none.
    """
    match = _S3.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is not s3://BUCKET/PREFIX")
    return match["bucket"], match["prefix"] or ""
