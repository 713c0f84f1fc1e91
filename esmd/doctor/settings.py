"""Settings that are valid each by itself, and make no sense together.

| settings                                                              | finding                                     |
|-----------------------------------------------------------------------|---------------------------------------------|
| a function with `reserved_concurrency: 0`                             | problem: it never runs                      |
| mapping's concurrency above the function's                            | advice: it is never reached                 |
| `batch_size: 1` with a window                                         | advice: the window gathers nothing          |
| `batch_size: 1` with `ReportBatchItemFailures`                        | advice: a batch of one has no parts         |
| `batch_size` above 1 of a queue, without `ReportBatchItemFailures`    | advice: one failure brings all of them back |
| a stream without a limit on retries or age                            | advice: one bad record stops its shard      |
| `maximum_retry_attempts: 0` without a destination                     | advice: a failure loses records silently    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esmd.config.schema import InvokedFunction, SqsMapping, StreamMapping
from esmd.doctor.findings import advice, ok, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esmd.config.schema import AnyMapping, Config
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings

_CHECK = "settings"


async def check_settings(around: Surroundings) -> list[Finding]:
    """Each enabled mapping, with the function that it invokes."""
    found: list[Finding] = []
    for mapping in around.mappings:
        judged = list(judge(mapping, around.config))
        found += judged or [ok(_CHECK, mapping.name, "nothing that contradicts itself")]
    return found


def judge(mapping: AnyMapping, config: Config) -> Iterator[Finding]:
    """By the module's table."""
    name = mapping.name
    functions = [config.functions[each] for each in config.versions_of(mapping.function_name)]
    limits = [each.reserved_concurrency for each in functions if isinstance(each, InvokedFunction)]
    known = [each for each in limits if each is not None]
    if 0 in known:
        said = f"the function {mapping.function_name} has reserved_concurrency 0: it never runs"
        yield problem(_CHECK, name, said, fix="raise reserved_concurrency, or set enabled: false on the mapping")
    yield from _of_batches(mapping)
    if isinstance(mapping, SqsMapping):
        wanted = mapping.scaling_config.maximum_concurrency
        if wanted is not None and known and 0 < min(known) < wanted:
            said = f"maximum_concurrency {wanted} is never reached: the function's reserved_concurrency is {min(known)}"
            yield advice(_CHECK, name, said, fix="raise reserved_concurrency, or lower maximum_concurrency")
    else:
        yield from _of_retries(mapping)


def _of_batches(mapping: AnyMapping) -> Iterator[Finding]:
    name = mapping.name
    if mapping.batch_size == 1 and mapping.maximum_batching_window_in_seconds:
        yield advice(_CHECK, name, "a batch of one is full at once: the window gathers nothing", fix="raise batch_size")
    if mapping.batch_size == 1 and mapping.report_batch_item_failures:
        said = "a batch of one has no parts: ReportBatchItemFailures has nothing to report"
        yield advice(_CHECK, name, said, fix="raise batch_size, or remove function_response_types")
    if isinstance(mapping, SqsMapping) and mapping.batch_size > 1 and not mapping.report_batch_item_failures:
        said = f"without ReportBatchItemFailures one failing message brings back all of its batch, up to {mapping.batch_size}"
        fix = "let the handler report batchItemFailures, and set function_response_types: [ReportBatchItemFailures]"
        yield advice(_CHECK, name, said, fix=fix)


def _of_retries(mapping: StreamMapping) -> Iterator[Finding]:
    name = mapping.name
    if mapping.maximum_retry_attempts == -1 and mapping.maximum_record_age_in_seconds == -1:
        said = "no limit on retries or age: a record that always fails stops its shard until it expires"
        fix = "set maximum_retry_attempts and bisect_batch_on_function_error, with a destination for what is given up"
        yield advice(_CHECK, name, said, fix=fix)
    elif mapping.maximum_retry_attempts == 0 and mapping.on_failure is None:
        said = "no retries and no destination: a batch that fails once is lost, and only the log says so"
        yield advice(_CHECK, name, said, fix="set destination_config, or raise maximum_retry_attempts")
