"""What an SQS mapping at work needs of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esmd.mappings.scaling import ScalingLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsSettings:
    """One mapping's settings; times in seconds. Holds no defaults: those are the configuration's.

    Attributes:
        name: the mapping's name.
        queue_arn: of the event source.
        region: of the queue.
        fifo: whether it is a FIFO queue.
        window: the batching window, 0 for none.
        limits: how its concurrency may move.
        function_timeout: of the function, for the visibility rules; 0 where it is not known.
        retry_backoff: first and longest delay after a failure; None leaves visibility timeouts alone.
        longest_poll: most that a receive waits for its first message (1 to 20).
        log_payloads: say the event of every invocation.
    """

    name: str
    queue_arn: str
    region: str
    fifo: bool
    batch_size: int
    window: int
    report_batch_item_failures: bool
    limits: ScalingLimits
    function_timeout: float
    visibility_heartbeat: bool
    retry_backoff: tuple[float, float] | None
    release_on_stop: bool
    longest_poll: int
    log_payloads: bool
