"""Is the queue of a mapping there, does it fit the function, and what becomes of messages that always fail?

| found                                                                  | finding |
|------------------------------------------------------------------------|---------|
| no queue, or no right to see it                                        | problem |
| visibility timeout below the function's timeout, no heartbeat          | problem |
| visibility timeout below six times the function's, plus the window     | advice  |
| no redrive policy, or maxReceiveCount below 5                          | advice  |
| a dead-letter queue that is not there                                  | problem |
| a dead-letter queue that cannot be seen                                | advice  |
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from esmd.config.schema import SqsMapping
from esmd.config.values import queue_arn
from esmd.doctor.findings import advice, ok, problem
from esmd.doctor.surroundings import LONGEST
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.sqs import BotoSqs

if TYPE_CHECKING:
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings
    from esmd.pollers.sqs import Queue

_CHECK = "queue"
_MAKE_IT = "make the queue, or correct event_source_arn"


async def check_queues(around: Surroundings) -> list[Finding]:
    """Each queue that an enabled mapping reads."""

    async def one(mapping: SqsMapping) -> list[Finding]:
        arn = mapping.queue
        try:
            async with asyncio.timeout(LONGEST):
                queue = await _api(around, mapping.event_source_arn).look_up()
        except SourceError as error:
            fix = _MAKE_IT if error.failure.kind is Kind.RECONFIGURE else "see that the endpoint is reachable"
            return [problem(_CHECK, mapping.name, f"{arn.name}: {error.failure.message}", fix=fix)]
        except TimeoutError:
            said = f"{arn.name}: no answer within {LONGEST:g} s"
            return [problem(_CHECK, mapping.name, said, fix="see that the endpoint is reachable")]
        timeout = around.config.longest_invocation(mapping.function_name)
        judged = [*judge_visibility(mapping, queue, timeout), *judge_redrive(mapping, queue)]
        dead_letters = await _dead_letters(around, mapping, queue)
        return [ok(_CHECK, mapping.name, f"{arn.name} exists"), *judged, *dead_letters]

    return await around.each([each for each in around.mappings if isinstance(each, SqsMapping)], one)


def judge_visibility(mapping: SqsMapping, queue: Queue, timeout: float | None) -> list[Finding]:
    """Whether messages stay hidden for long enough; nothing where the function's timeout is not known here."""
    if timeout is None or mapping.visibility_heartbeat:
        return []
    if queue.visibility_timeout < timeout:
        said = (
            f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than "
            f"Function timeout: {timeout:g} seconds"
        )
        fix = "raise the queue's VisibilityTimeout, lower the function's timeout, or set visibility_heartbeat: true"
        return [problem("visibility", mapping.name, said, fix=fix)]
    wanted = math.ceil(6 * timeout) + mapping.maximum_batching_window_in_seconds
    if queue.visibility_timeout < wanted:
        said = (
            f"the visibility timeout is {queue.visibility_timeout} s; AWS recommends six times the function's timeout and "
            f"the batching window, {wanted} s"
        )
        return [advice("visibility", mapping.name, said, fix=f"set the queue's VisibilityTimeout to {wanted}")]
    return [ok("visibility", mapping.name, f"hidden for {queue.visibility_timeout} s, at least {wanted} s are advised")]


def judge_redrive(mapping: SqsMapping, queue: Queue) -> list[Finding]:
    """What becomes of a message that always fails."""
    if queue.max_receive_count is None:
        said = "no redrive policy: a message that always fails is retried until the queue's retention ends"
        fix = "give the queue a RedrivePolicy with a dead-letter queue and maxReceiveCount 5"
        return [advice("redrive", mapping.name, said, fix=fix)]
    if queue.max_receive_count < 5:
        said = f"maxReceiveCount is {queue.max_receive_count}: throttled receives count too"
        return [advice("redrive", mapping.name, said, fix="set maxReceiveCount to 5 or more")]
    return [ok("redrive", mapping.name, f"maxReceiveCount is {queue.max_receive_count}")]


async def _dead_letters(around: Surroundings, mapping: SqsMapping, queue: Queue) -> list[Finding]:
    check, arn = "dead letters", queue.dead_letter_arn
    if arn is None:
        return []
    try:
        async with asyncio.timeout(LONGEST):
            await _api(around, arn).look_up()
    except ValueError:
        return [problem(check, mapping.name, f"{arn} is no queue", fix="correct the queue's RedrivePolicy")]
    except SourceError as error:
        if error.failure.code == "AWS.SimpleQueueService.NonExistentQueue":
            fix = "make the queue, or correct the RedrivePolicy: messages that always fail are never taken away"
            return [problem(check, mapping.name, f"{arn} does not exist", fix=fix)]
        return [
            advice(
                check,
                mapping.name,
                f"{arn} cannot be seen: {error.failure.message}",
                fix="allow sqs:GetQueueAttributes",
            )
        ]
    except TimeoutError:
        return [advice(check, mapping.name, f"{arn}: no answer within {LONGEST:g} s", fix="try again")]
    return [ok(check, mapping.name, f"{arn} exists")]


def _api(around: Surroundings, text: str) -> BotoSqs:
    arn = queue_arn(text)
    return BotoSqs(around.clients, region=arn.region, account_id=arn.account_id, queue_name=arn.name)
