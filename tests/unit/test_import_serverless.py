"""A serverless.yml in the shape of public projects, its variables, and what comes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esmd.config.schema import LambdaFunction, PythonFunction, SqsMapping, StreamMapping

from support.imports import TEMPLATES, Result, serverless

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:sqs:us-east-1:000000000000:q"


def one(folder: Path, sqs: str, more: str = "", *, environ: dict[str, str] | None = None, **options: str) -> Result:
    """A service with one function and one event."""
    file = folder / "serverless.yml"
    text = f"service: s\nprovider: {{runtime: python3.12}}\nfunctions:\n  f: {{handler: a.b, events: [{{sqs: {sqs}}}]}}\n{more}"
    file.write_text(text, encoding="utf-8")
    return serverless(file, folder=folder, environ=environ, **options)


def queue(result: Result) -> str:
    """The name of the one queue."""
    [mapping] = result.config.mappings.values()
    return mapping.event_source_arn.rpartition(":")[2]


def test_queues_streams_and_tables_with_every_kind_of_variable(tmp_path):
    config = serverless(TEMPLATES / "serverless.yml", folder=tmp_path, environ={"HOME_FOR_TEST": "here"}).config
    orders, changes, clicks, images = config.mappings.values()
    assert [orders.name, changes.name, clicks.name, images.name] == [
        "orders.orders-dev",
        "audit.orders-eu-west-1",
        "audit.clicks",
        "resize.images",
    ]
    assert isinstance(orders, SqsMapping)
    assert orders.event_source_arn == "arn:aws:sqs:eu-west-1:000000000000:orders-dev"
    assert (orders.batch_size, orders.maximum_batching_window_in_seconds) == (20, 3)
    assert orders.scaling_config.maximum_concurrency == 4
    assert orders.function_response_types == ("ReportBatchItemFailures",)
    assert orders.filter_criteria.patterns == ('{"body":{"kind":["order"],"account":["123456789012"]}}',)
    assert isinstance(changes, StreamMapping)
    assert changes.event_source_arn.endswith("table/orders-eu-west-1/stream/latest")
    assert (changes.batch_size, changes.maximum_retry_attempts, changes.starting_position) == (50, 2, "TRIM_HORIZON")
    assert str(changes.on_failure) == "arn:aws:sns:eu-west-1:000000000000:failures"
    assert (clicks.event_source_arn, clicks.batch_size) == ("arn:aws:kinesis:eu-west-1:000000000000:stream/clicks", 10)
    assert images.event_source_arn == "arn:aws:sqs:eu-west-1:000000000000:images"
    function, audit, resize = (config.functions[name] for name in ("shop-dev-orders", "audit-dev", "shop-dev-resize"))
    assert isinstance(function, PythonFunction)
    assert (function.timeout, function.memory_size, function.reserved_concurrency) == (10, 512, 5)
    assert function.environment == {"STAGE": "dev", "HOME_OF": "here", "KIND": "orders"}
    assert audit.longest == 30
    assert isinstance(resize, LambdaFunction)


def test_what_is_left_out_is_said(tmp_path):
    said = serverless(TEMPLATES / "serverless.yml", folder=tmp_path).said
    assert [line.partition("warning: ")[2].partition(": ")[0] for line in said] == [
        "functions.audit.environment.SECRET",
        "functions.orders.environment.SECRET",
        "functions.resize.environment.SECRET",
        "functions.orders.events.httpApi",
        "functions.orders.events.schedule",
    ]


def test_options_choose_the_stage(tmp_path):
    config = serverless(TEMPLATES / "serverless.yml", folder=tmp_path, stage="prod", window="9").config
    orders = config.mappings["orders.orders-prod"]
    assert (orders.batch_size, orders.maximum_batching_window_in_seconds) == (100, 9)
    assert {"shop-prod-orders", "audit-prod"} <= set(config.functions)


@pytest.mark.parametrize(
    ("name", "more", "found"),
    [
        ("${self:custom.a}", "custom: {a: x}", "x"),
        ("${self:custom.a.1}", "custom: {a: [w, x]}", "x"),
        ("${self:custom.${self:custom.key}}", "custom: {key: a, a: x}", "x"),
        ("${self:custom.none, self:custom.a}", "custom: {a: x}", "x"),
        ("${self:custom.none, 'x'}", "", "x"),
        ('${opt:none, env:NONE, "x, y"}', "", None),
        ("${opt:given}", "", "option"),
        ("${param:p}", "params: {default: {p: x}, dev: {p: y}}", "y"),
        ("${param:p}", "params: {default: {p: x}}", "x"),
        ("${env:GIVEN}", "", "variable"),
        ("${sls:stage}-${self:service}", "", "dev-s"),
        ("${self:custom.number}", "custom: {number: 7}", "7"),
    ],
)
def test_a_variable_becomes_what_it_leads_to(tmp_path, name, more, found):
    written = name.replace("'", "''")
    result = one(
        tmp_path,
        f"'arn:aws:sqs:us-east-1:000000000000:q-{written}'",
        more,
        environ={"GIVEN": "variable"},
        given="option",
    )
    if found is None:
        assert "queue name must be" in result.said[0]
    else:
        assert queue(result) == f"q-{found}"


@pytest.mark.parametrize(
    ("arn", "more", "complaint"),
    [
        ("${file(x.yml):arn}", "", "${file:...} cannot be resolved here (it stands in another file"),
        ("${file(x.yml)}", "", '"file(x.yml)" cannot be resolved here (it stands in another file'),
        ("${ssm:/a/b}", "", "${ssm:...} cannot be resolved here (it is in Parameter Store"),
        ("${cf:other.Arn}", "", "${cf:...} cannot be resolved here (it comes from another stack"),
        ("${s3:b/k}", "", "${s3:...} cannot be resolved here (it is in S3"),
        ("${git:sha}", "", "${git:...} cannot be resolved here"),
        ("${opt:stack}", "", "has no value (give it: --opt stack=VALUE)"),
        ("${env:NOBODY}", "", "has no value (set the variable)"),
        ("${self:custom.none}", "", 'the variable "${self:custom.none}" has no value'),
        ("a${self:custom}", "custom: {a: b}", "is a list or mapping inside of a text"),
        ("${nonsense}", "", 'cannot read the variable "nonsense"'),
        ("${self:custom.a}", "custom: {a: '${self:custom.b}', b: '${self:custom.a}'}", "nested too deeply"),
        ("${self:custom.a.b}", "custom: {a: '${self:custom.a}'}", "has no value"),
        ("x", "", "must be a queue's ARN"),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path, arn, more, complaint):
    result = one(tmp_path, f"'{arn}'", more)
    assert result.failed
    assert len(result.said) == 1
    assert complaint in result.said[0]
    assert result.said[0].startswith(f"{tmp_path}/serverless.yml:")


def test_variables_that_double_without_end_are_refused_soon(tmp_path):
    custom = ", ".join(f"a{n}: '${{self:custom.a{n + 1}}}${{self:custom.a{n + 1}}}'" for n in range(40))
    result = one(tmp_path, "'${self:custom.a0}'", f"custom: {{{custom}, a40: ''}}")
    assert "values are needed to know this one" in result.said[0] or "nested too deeply" in result.said[0]


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ("{msk: {arn: x, topic: t}}", "events of type msk are not supported by this version"),
        ("{sqs: {arn: x, batchsize: 3}}", 'unknown setting "batchsize" (did you mean batchSize?)'),
        ("{sqs: {batchSize: 3}}", "the arn is missing, or no text"),
        ("{stream: {arn: x, maximumConcurrency: 3}}", 'unknown setting "maximumConcurrency"'),
        ("[sqs]", "an event is a mapping with its type as key"),
    ],
)
def test_an_event_that_is_wrong_is_refused_with_its_place(tmp_path, event, complaint):
    file = tmp_path / "serverless.yml"
    events = f"{{sqs: {ARN}}}, {event}"
    file.write_text(f"service: s\nfunctions:\n  f: {{handler: a.b, events: [{events}]}}\n", encoding="utf-8")
    result = serverless(file, folder=tmp_path)
    assert result.failed
    assert complaint in " ".join(result.said)
    assert ":3:" in result.said[0]


def test_an_own_fan_out_consumer_becomes_the_stream_with_a_note(tmp_path):
    file = tmp_path / "serverless.yml"
    stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
    file.write_text(
        f"service: s\nprovider: {{runtime: python3.12}}\n"
        f"functions: {{f: {{handler: a.b, events: [{{stream: {{arn: '{stream}', consumer: true}}}}]}}}}\n",
        encoding="utf-8",
    )
    result = serverless(file, folder=tmp_path)
    assert result.config.mappings["f.s"].event_source_arn == stream
    assert "# enhanced fan-out is not supported: the stream itself is read" in result.text


def test_functions_in_a_list_and_in_another_file(tmp_path):
    file = tmp_path / "serverless.yml"
    file.write_text(
        f"service: s\nprovider: {{runtime: python3.12}}\nfunctions:\n"
        f"  - f: {{handler: a.b, events: [{{sqs: {ARN}}}]}}\n  - ${{file(more.yml)}}\n",
        encoding="utf-8",
    )
    result = serverless(file, folder=tmp_path)
    assert "more.yml" in " ".join(result.said), "what is not read is said"
    assert result.failed
