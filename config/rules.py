"""Rules that join settings, or that Lambda adds to a range: pure functions from models to findings.

| rule                | reads                                     | finding                                              |
|---------------------|-------------------------------------------|------------------------------------------------------|
| `fifo_batch`        | event_source_arn, batch_size              | FIFO takes at most 10 [specification A.1]             |
| `large_batch`       | event_source_arn, batch_size, window      | above 10 needs a window, AWS's text [A.1]             |
| `fifo_window`       | event_source_arn, window                  | FIFO takes none, the text of AWS's tools [A.1]        |
| `scaling`           | scaling_config, provisioned_poller_config | one or the other [A.1]; warning: 1 is beyond AWS      |
| `pollers`           | provisioned_poller_config                 | minimum above maximum                                |
| `filters`           | filter_criteria                           | AWS's text, the place in the pattern [C.1]; warning: 6 to 10 |
| `backoff`           | retry_backoff                             | initial above maximum                                |
| `tags`              | tags                                      | 50 tags, 128 and 256 characters, no `aws:`            |
| `without_effect`    | metrics_config, kms_key_arn               | warning                                              |
| `variables`         | environment                               | names, Lambda's reserved names, 4 KB                 |
| `inline_variables`  | environment, isolation                    | the process environment is shared                    |
| `folders`           | python_path                               | warning: a folder does not exist                     |

A rule is left out where a setting that it reads is itself wrong: one mistake, one diagnostic.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from esmd.config.report import Severity, shown
from esmd.mappings.filters import filter_warnings
from esmd.mappings.patterns import InvalidPattern

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from esmd.config.schema import FunctionSettings, Settings, SqsMapping

_Model = TypeVar("_Model", bound="Settings")

RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
"""Variables that Lambda sets itself and refuses to take."""

DEFAULT_FILTERS = 5
"""Filters per mapping on AWS without a quota raise."""

_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about one place of a model: names of fields and indexes of lists, from the model inwards."""

    location: tuple[str | int, ...]
    message: str
    hint: str = ""
    severity: Severity = "error"


def mapping_findings(mapping: SqsMapping, *, wrong: Container[str] = ()) -> Iterator[Finding]:
    """What the rules say about one mapping; rules that read a field in `wrong` are left out."""
    yield from _apply(_MAPPING_RULES, mapping, wrong)


def function_findings(function: FunctionSettings, *, wrong: Container[str] = ()) -> Iterator[Finding]:
    """What the rules say about one function; rules that read a field in `wrong` are left out."""
    yield from _apply(_FUNCTION_RULES, function, wrong)


def _apply(
    rules: tuple[tuple[Callable[[_Model], Iterator[Finding]], tuple[str, ...]], ...],
    model: _Model,
    wrong: Container[str],
) -> Iterator[Finding]:
    for rule, reads in rules:
        if not any(name in wrong for name in reads):
            yield from rule(model)


def _fifo_batch(mapping: SqsMapping) -> Iterator[Finding]:
    if mapping.queue.fifo and mapping.batch_size > 10:
        yield Finding(("batch_size",), f"must be 1 to 10 for a FIFO queue, not {mapping.batch_size}")


def _large_batch(mapping: SqsMapping) -> Iterator[Finding]:
    if not mapping.queue.fifo and mapping.batch_size > 10 and not mapping.maximum_batching_window_in_seconds:
        yield Finding(
            ("batch_size",),
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
            "set maximum_batching_window_in_seconds",
        )


def _fifo_window(mapping: SqsMapping) -> Iterator[Finding]:
    if mapping.queue.fifo and mapping.maximum_batching_window_in_seconds:
        yield Finding(("maximum_batching_window_in_seconds",), "Batching window is not supported for FIFO queues")


def _scaling(mapping: SqsMapping) -> Iterator[Finding]:
    here = ("scaling_config", "maximum_concurrency")
    maximum = mapping.scaling_config.maximum_concurrency
    if maximum is not None and mapping.provisioned_poller_config is not None:
        yield Finding(here, "cannot be set together with provisioned_poller_config")
    if maximum == 1:
        yield Finding(here, "1 works here, but AWS's minimum is 2", severity="warning")


def _pollers(mapping: SqsMapping) -> Iterator[Finding]:
    pollers = mapping.provisioned_poller_config
    if pollers and pollers.minimum_pollers > pollers.maximum_pollers:
        yield Finding(
            ("provisioned_poller_config",),
            f"minimum_pollers {pollers.minimum_pollers} is more than maximum_pollers {pollers.maximum_pollers}",
        )


def _filters(mapping: SqsMapping) -> Iterator[Finding]:
    patterns = mapping.filter_criteria.patterns
    if len(patterns) > DEFAULT_FILTERS:
        yield Finding(
            ("filter_criteria", "filters"),
            f"{len(patterns)} filters work here, but AWS takes 5, or up to 10 after a quota raise",
            severity="warning",
        )
    for index, text in enumerate(patterns):
        here = ("filter_criteria", "filters", index, "pattern")
        try:
            warnings = filter_warnings(text, source="sqs")
        except InvalidPattern as error:
            yield Finding((*here, *error.path), f"{error.aws_message} {error.message}")
        else:
            for warning in warnings:
                yield Finding((*here, *warning.path), warning.message, severity="warning")


def _backoff(mapping: SqsMapping) -> Iterator[Finding]:
    backoff = mapping.retry_backoff
    if backoff and backoff.initial > backoff.maximum:
        yield Finding(("retry_backoff",), f"initial {backoff.initial:g} s is more than maximum {backoff.maximum:g} s")


def _tags(mapping: SqsMapping) -> Iterator[Finding]:
    if len(mapping.tags) > 50:
        yield Finding(("tags",), f"AWS takes at most 50 tags, not {len(mapping.tags)}")
    for key, value in mapping.tags.items():
        if not 1 <= len(key) <= 128:
            yield Finding(("tags", key), "a tag's key must be 1 to 128 characters")
        if key.lower().startswith("aws:"):
            yield Finding(("tags", key), "keys that start with aws: are reserved by AWS")
        if len(value) > 256:
            yield Finding(("tags", key), f"a tag's value must be at most 256 characters, not {len(value)}")


def _without_effect(mapping: SqsMapping) -> Iterator[Finding]:
    if mapping.metrics_config is not None:
        yield Finding(("metrics_config",), "has no effect here: nothing is sent to CloudWatch", severity="warning")
    if mapping.kms_key_arn:
        yield Finding(("kms_key_arn",), "has no effect here: filters are not encrypted at rest", severity="warning")


def _variables(function: FunctionSettings) -> Iterator[Finding]:
    for name in function.environment:
        if name in RESERVED_VARIABLES:
            yield Finding(("environment", name), "Lambda sets this variable itself and takes no value for it")
        elif not _VARIABLE.fullmatch(name):
            yield Finding(("environment", name), "a variable's name must be letters, digits and _, a letter first")
    size = len(
        json.dumps(function.environment, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    )
    if size > 4096:
        yield Finding(("environment",), f"the variables take {size} bytes, Lambda's limit is 4096")


def _inline_variables(function: FunctionSettings) -> Iterator[Finding]:
    if function.environment and function.isolation == "inline":
        yield Finding(
            ("environment",),
            "an inline handler has no environment of its own",
            "use isolation: worker, or set the variables of the daemon",
        )


def _folders(function: FunctionSettings) -> Iterator[Finding]:
    for index, folder in enumerate(function.python_path):
        if not folder.is_dir():
            yield Finding(("python_path", index), f"no such folder: {shown(str(folder), 200)}", severity="warning")


_MAPPING_RULES = (
    (_fifo_batch, ("event_source_arn", "batch_size")),
    (_large_batch, ("event_source_arn", "batch_size", "maximum_batching_window_in_seconds")),
    (_fifo_window, ("event_source_arn", "maximum_batching_window_in_seconds")),
    (_scaling, ("scaling_config", "provisioned_poller_config")),
    (_pollers, ("provisioned_poller_config",)),
    (_filters, ("filter_criteria",)),
    (_backoff, ("retry_backoff",)),
    (_tags, ("tags",)),
    (_without_effect, ("metrics_config", "kms_key_arn")),
)

_FUNCTION_RULES = (
    (_variables, ("environment",)),
    (_inline_variables, ("environment", "isolation")),
    (_folders, ("python_path",)),
)
