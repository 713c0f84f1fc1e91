"""Good configurations: every spelling, variables, several files, and the warnings that stop nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from esmd.config.loader import Loaded, load

if TYPE_CHECKING:
    from esmd.config.schema import Config, FunctionSettings, SqsMapping

ARN = "arn:aws:sqs:us-east-1:000000000000:orders"
FUNCTIONS = "functions: {f: {handler: orders.process}}\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str, name: str = "esmd.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def valid(*paths: Path, environ: Mapping[str, str] | None = None, warnings: int = 0) -> Config:
    loaded = load(paths, environ=environ or {})
    assert loaded.config is not None, _lines(loaded)
    assert len(loaded.diagnostics) == warnings, _lines(loaded)
    return loaded.config


def lines(*paths: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Diagnostics, without the folder of the first file."""
    loaded = load(paths, environ=environ or {})
    return [line.replace(f"{paths[0].parent}/", "") for line in _lines(loaded)]


def _lines(loaded: Loaded) -> list[str]:
    return [str(each) for each in loaded.diagnostics]


def mapping(write: Write, settings: str, *, warnings: int = 0, environ: Mapping[str, str] | None = None) -> SqsMapping:
    text = f"{FUNCTIONS}mappings:\n  orders:\n    event_source_arn: {ARN}\n    function_name: f\n"
    indented = "".join(f"    {line}\n" for line in settings.splitlines())
    return valid(write(text + indented), warnings=warnings, environ=environ).mappings["orders"]


def function(
    write: Write, settings: str, *, warnings: int = 0, environ: Mapping[str, str] | None = None
) -> FunctionSettings:
    indented = "".join(f"    {line}\n" for line in settings.splitlines())
    text = f"functions:\n  f:\n{indented}mappings: {{m: {{event_source_arn: '{ARN}', function_name: f}}}}\n"
    return valid(write(text), warnings=warnings, environ=environ).functions["f"]


# --- the shape that is promised


def test_the_documented_shape_is_read_as_it_says(write: Write, tmp_path: Path) -> None:
    path = write(
        """\
version: 1
aws:
  endpoint_url: http://127.0.0.1:4566
  region: us-east-1
functions:
  process-order:
    handler: orders:process
    timeout: 30
    reserved_concurrency: 10
    isolation: worker
    environment: {TABLE: orders}
    python_path: [.]
mappings:
  orders:
    event_source_arn: arn:aws:sqs:us-east-1:000000000000:orders
    function_name: process-order
    enabled: true
    batch_size: 10
    maximum_batching_window_in_seconds: 0
    function_response_types: [ReportBatchItemFailures]
    scaling_config: {maximum_concurrency: 10}
    filter_criteria: {filters: [{pattern: {body: {type: [order]}}}]}
"""
    )
    config = valid(path)
    assert config.version == 1
    assert (config.aws.endpoint_url, config.aws.region) == ("http://127.0.0.1:4566", "us-east-1")
    assert (config.aws.profile, config.aws.allow_remote, config.state.path) == (None, False, None)
    assert config.files == (path,)
    handler = config.functions["process-order"]
    assert (handler.handler, handler.timeout, handler.reserved_concurrency) == ("orders:process", 30.0, 10)
    assert (handler.isolation, handler.environment) == ("worker", {"TABLE": "orders"})
    assert (handler.directory, handler.python_path) == (tmp_path, (tmp_path,))
    orders = config.mappings["orders"]
    assert (orders.name, orders.function_name, orders.enabled) == ("orders", "process-order", True)
    assert (orders.batch_size, orders.maximum_batching_window_in_seconds) == (10, 0)
    assert orders.report_batch_item_failures
    assert orders.scaling_config.maximum_concurrency == 10
    assert orders.filter_criteria.patterns == ('{"body":{"type":["order"]}}',)
    queue = orders.queue
    assert (queue.partition, queue.region, queue.account_id) == ("aws", "us-east-1", "000000000000")
    assert (queue.name, queue.fifo, str(queue)) == ("orders", False, ARN)


def test_what_is_left_out_has_the_defaults_of_aws(write: Write, tmp_path: Path) -> None:
    orders = mapping(write, "")
    assert (orders.enabled, orders.batch_size, orders.maximum_batching_window_in_seconds) == (True, 10, 0)
    assert not orders.report_batch_item_failures
    assert orders.scaling_config.maximum_concurrency is None
    assert orders.provisioned_poller_config is None
    assert orders.filter_criteria.patterns == ()
    assert (orders.visibility_heartbeat, orders.retry_backoff, orders.release_on_stop) == (False, None, True)
    assert orders.receive_wait_time_seconds is None
    handler = function(write, "handler: m.f")
    assert (handler.timeout, handler.reserved_concurrency, handler.isolation) == (3.0, None, "worker")
    assert (handler.environment, handler.python_path) == ({}, (tmp_path,))


def test_models_are_frozen(write: Write) -> None:
    orders = mapping(write, "")
    with pytest.raises(ValueError, match="frozen"):
        orders.batch_size = 5  # type: ignore[misc]


# --- names


def test_a_block_as_the_api_spells_it_can_be_pasted(write: Write) -> None:
    path = write(
        FUNCTIONS
        + f"""\
mappings:
  orders:
    EventSourceArn: {ARN}
    FunctionName: arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST
    Enabled: false
    BatchSize: 100
    MaximumBatchingWindowInSeconds: 5
    FunctionResponseTypes: [ReportBatchItemFailures]
    ProvisionedPollerConfig: {{MinimumPollers: 3, MaximumPollers: 4}}
    FilterCriteria:
      Filters:
        - Pattern: '{{"body": {{"type": ["order"]}}}}'
    Tags: [{{Key: team, Value: 7}}]
"""
    )
    orders = valid(path).mappings["orders"]
    assert (orders.event_source_arn, orders.function_name, orders.enabled) == (ARN, "f", False)
    assert (orders.batch_size, orders.maximum_batching_window_in_seconds) == (100, 5)
    assert orders.report_batch_item_failures
    assert orders.provisioned_poller_config is not None
    assert orders.provisioned_poller_config.minimum_pollers == 3
    assert orders.provisioned_poller_config.maximum_pollers == 4
    assert orders.filter_criteria.patterns == ('{"body": {"type": ["order"]}}',)
    assert orders.tags == {"team": "7"}


def test_sams_name_for_the_queue_works(write: Write) -> None:
    path = write(
        f"{FUNCTIONS}mappings: {{a: {{Queue: '{ARN}', FunctionName: f, ScalingConfig: {{MaximumConcurrency: 2}}}}}}"
    )
    assert valid(path).mappings["a"].scaling_config.maximum_concurrency == 2


@pytest.mark.parametrize("name", ["kms_key_arn", "KMSKeyArn", "KmsKeyArn"])
def test_every_spelling_of_the_kms_key_is_taken_with_a_warning(write: Write, name: str) -> None:
    key = "arn:aws:kms:us-east-1:000000000000:key/k"
    assert mapping(write, f"{name}: {key}", warnings=1).kms_key_arn == key


def test_function_settings_as_the_api_spells_them(write: Write) -> None:
    handler = function(
        write,
        "Handler: src/orders.process\nTimeout: 60\nReservedConcurrentExecutions: 0\nEnvironment: {Variables: {A: b}}",
    )
    assert (handler.handler, handler.timeout) == ("src.orders:process", 60.0)
    assert (handler.reserved_concurrency, handler.environment) == (0, {"A": "b"})


@pytest.mark.parametrize(
    ("written", "handler"),
    [
        ("orders:process", "orders:process"),
        ("orders.process", "orders:process"),
        ("shop.orders.process", "shop.orders:process"),
        ("shop/orders.process", "shop.orders:process"),
        ("shop.orders:Handler.process", "shop.orders:Handler.process"),
    ],
)
def test_every_spelling_of_a_handler_becomes_one(write: Write, written: str, handler: str) -> None:
    assert function(write, f"handler: {written}").handler == handler


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1", 1.0), ("0.5", 0.5), ("30s", 30.0), ("1.5m", 90.0), ("250ms", 0.25), ('"15m"', 900.0), ("900", 900.0)],
)
def test_a_timeout_is_seconds_or_a_duration(write: Write, written: str, seconds: float) -> None:
    assert function(write, f"handler: m.f\ntimeout: {written}").timeout == seconds


@pytest.mark.parametrize(
    "written",
    [
        "f",
        '"f:$LATEST"',
        "000000000000:function:f",
        '"000000000000:function:f:$LATEST"',
        "arn:aws:lambda:us-east-1:000000000000:function:f",
    ],
)
def test_a_function_is_named_by_name_partial_arn_or_arn(write: Write, written: str) -> None:
    path = write(f"{FUNCTIONS}mappings: {{a: {{event_source_arn: '{ARN}', function_name: {written}}}}}")
    assert valid(path).mappings["a"].function_name == "f"


def test_an_empty_value_is_as_if_it_were_left_out(write: Write) -> None:
    orders = mapping(
        write, "batch_size:\nscaling_config: {maximum_concurrency: }\nfilter_criteria: ~\nretry_backoff: null"
    )
    assert (orders.batch_size, orders.scaling_config.maximum_concurrency) == (10, None)
    assert (orders.filter_criteria.patterns, orders.retry_backoff) == ((), None)


def test_an_empty_backoff_takes_its_defaults(write: Write) -> None:
    backoff = mapping(write, "retry_backoff: {}").retry_backoff
    assert backoff is not None
    assert (backoff.initial, backoff.maximum) == (5.0, 900.0)


# --- YAML


def test_environment_values_keep_the_text_that_was_written(write: Write) -> None:
    handler = function(
        write,
        "handler: m.f\nenvironment:\n  VERSION: 1.10\n  FLAG: true\n  OFF: off\n  ZERO: 0123\n  TIME: 12:30\n"
        "  ACCOUNT: 000000000000\n  EMPTY: ''\n  LINES: |\n    a\n    b",
    )
    assert handler.environment == {
        "VERSION": "1.10",
        "FLAG": "true",
        "OFF": "off",
        "ZERO": "0123",
        "TIME": "12:30",
        "ACCOUNT": "000000000000",
        "EMPTY": "",
        "LINES": "a\nb\n",
    }


def test_a_single_variable_named_variables_is_a_variable(write: Write) -> None:
    assert function(write, "handler: m.f\nenvironment: {Variables: x}").environment == {"Variables": "x"}


def test_a_pattern_keeps_key_order_and_exact_numbers(write: Write) -> None:
    orders = mapping(
        write,
        "filter_criteria:\n  filters:\n    - pattern:\n        body:\n"
        "          z: [1.10, 1e3, 123456789012, 0x1F, .5, +7]\n"
        "          a: [null, true, off, 0123, '5', \"é\\n\"]\n"
        '          m: [{numeric: [">", 100000000000000000000001]}, {anything-but: [x]}]',
    )
    assert orders.filter_criteria.patterns == (
        (
            '{"body":{"z":[1.10,1e3,123456789012,31,0.5,7],"a":[null,true,"off","0123","5","é\\n"],'
            '"m":[{"numeric":[">",100000000000000000000001]},{"anything-but":["x"]}]}}'
        ),
    )


def test_anchors_merge_keys_and_extension_keys_work(write: Write) -> None:
    path = write(
        f"""\
x-common: &common
  function_name: f
  batch_size: 7
  scaling_config: &scale {{maximum_concurrency: 3}}
{FUNCTIONS}
mappings:
  a: {{<<: *common, event_source_arn: "{ARN}"}}
  b:
    <<: [{{batch_size: 8}}, *common]
    event_source_arn: {ARN}-b
  c: {{event_source_arn: "{ARN}-c", function_name: f, scaling_config: *scale}}
"""
    )
    mappings = valid(path).mappings
    assert [mappings[name].batch_size for name in "abc"] == [7, 8, 10]
    assert [mappings[name].scaling_config.maximum_concurrency for name in "abc"] == [3, 3, 3]


def test_a_byte_order_mark_and_windows_lines_are_fine(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "esmd.yaml"
    text = f"{FUNCTIONS}mappings:\n  a:\n    event_source_arn: {ARN}\n    function_name: f\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert list(valid(path).mappings) == ["a"]


# --- variables


@pytest.mark.parametrize(
    ("written", "environ", "size"),
    [
        ("${SIZE}", {"SIZE": "5"}, 5),
        ("${SIZE:-6}", {}, 6),
        ("${SIZE:-6}", {"SIZE": ""}, 6),
        ("${SIZE:-6}", {"SIZE": "7"}, 7),
        ("${SIZE:?needed}", {"SIZE": "8"}, 8),
        ("1${SIZE}", {"SIZE": "0"}, 10),
        ("${SIZE}", {"SIZE": ""}, 10),
    ],
)
def test_a_plain_variable_may_be_a_number_and_an_empty_one_is_no_value(
    write: Write, written: str, environ: dict[str, str], size: int
) -> None:
    assert mapping(write, f"batch_size: {written}", environ=environ).batch_size == size


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${NAME}", "x: {y}"),
        ("'<${NAME}>'", "<x: {y}>"),
        ("$$HOME", "$HOME"),
        ("$${NAME}", "${NAME}"),
        ("a$b", "a$b"),
        ("$LATEST", "$LATEST"),
        ("'${NONE:-}'", ""),
        ("${NONE:-a:-b?c}", "a:-b?c"),
        ("'${TWICE}'", "${NAME}"),
    ],
)
def test_variables_fill_text_and_never_add_structure(write: Write, written: str, text: str) -> None:
    environ = {"NAME": "x: {y}", "TWICE": "${NAME}"}
    assert function(write, "handler: m.f\nenvironment: {}\nTimeout: 3", environ=environ).environment == {}
    assert function(write, f"handler: m.f\nenvironment:\n  A: {written}", environ=environ).environment == {"A": text}


def test_variables_are_not_looked_up_in_names_or_in_unused_extension_keys(write: Write) -> None:
    path = write(f"x-unused: ${{NO_SUCH}}\n{FUNCTIONS}mappings: {{a: {{event_source_arn: '{ARN}', function_name: f}}}}")
    valid(path)
    path = write(FUNCTIONS + "mappings: {'${NO_SUCH}': {}}")
    assert lines(path)[0] == (
        "esmd.yaml:2:12: mappings.${NO_SUCH}: a mapping's name must be 1 to 64 letters, digits, hyphens, underscores and dots"
    )


# --- several files


def test_files_and_folders_are_united(write: Write, tmp_path: Path) -> None:
    write("aws: {region: eu-west-1}\n" + FUNCTIONS, "conf/b.yml")
    write(f"mappings: {{a: {{event_source_arn: '{ARN}', function_name: f}}}}", "conf/a.yaml")
    write("not: yaml: at all", "conf/deeper/c.yaml")
    write("not a configuration", "conf/notes.txt")
    one = write(
        f"mappings: {{b: {{event_source_arn: '{ARN}-b', function_name: f}}}}\naws: {{region: eu-west-1}}", "one.yaml"
    )
    config = valid(tmp_path / "conf", one, tmp_path / "conf" / "a.yaml")
    assert list(config.mappings) == ["a", "b"]
    assert config.aws.region == "eu-west-1"
    assert config.functions["f"].directory == tmp_path / "conf"
    assert [path.name for path in config.files] == ["a.yaml", "b.yml", "one.yaml"]


def test_a_name_in_two_files_names_both_places(write: Write, tmp_path: Path) -> None:
    first = write(f"{FUNCTIONS}mappings:\n  a: {{event_source_arn: '{ARN}', function_name: f}}", "1.yaml")
    second = write("functions:\n  f: {handler: x.y}\nmappings:\n  a: {}", "2.yaml")
    assert lines(first, second) == [
        f'2.yaml:2:3: functions.f: "f" stands twice, first at {first}:1:13'.replace(f"{tmp_path}/", ""),
        '2.yaml:4:3: mappings.a: "a" stands twice, first at 1.yaml:3:3',
    ]


def test_shared_sections_must_agree(write: Write) -> None:
    first = write(f"aws: {{region: us-east-1}}\n{FUNCTIONS}", "1.yaml")
    second = write(
        f"aws: {{region: eu-west-1}}\nmappings: {{a: {{event_source_arn: '{ARN}', function_name: f}}}}", "2.yaml"
    )
    assert lines(first, second) == ["2.yaml:1:1: aws: differs from that at 1.yaml:1:1 (say it once)"]


def test_a_missing_file_is_told_and_does_not_make_functions_unregistered(write: Write, tmp_path: Path) -> None:
    path = write(f"mappings: {{a: {{event_source_arn: '{ARN}', function_name: f}}}}")
    assert lines(path, tmp_path / "functions.yaml") == ["functions.yaml: cannot be read: no such file or directory"]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    assert lines(tmp_path)[0].endswith(": a folder without *.yaml or *.yml files")


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert lines(tmp_path)[0].endswith(": cannot be read: permission denied")


def test_a_path_that_no_file_can_have_is_told() -> None:
    (diagnostic,) = load([Path("a\0b")], environ={}).diagnostics
    assert str(diagnostic) == "a\\x00b: cannot be read: embedded null byte"


# --- warnings


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (
            "metrics_config: {metrics: [EventCount]}",
            "esmd.yaml:5:21: warning: mappings.orders.metrics_config: has no effect here: nothing is sent to CloudWatch",
        ),
        (
            "KMSKeyArn: arn:aws:kms:us-east-1:000000000000:key/k",
            "esmd.yaml:5:16: warning: mappings.orders.KMSKeyArn: has no effect here: filters are not encrypted at rest",
        ),
        (
            "scaling_config: {maximum_concurrency: 1}",
            (
                "esmd.yaml:5:43: warning: mappings.orders.scaling_config.maximum_concurrency:"
                " 1 works here, but AWS's minimum is 2"
            ),
        ),
        (
            "filter_criteria: {filters: [&p {pattern: {body: {a: [1]}}}, *p, *p, *p, *p, *p]}",
            (
                "esmd.yaml:5:32: warning: mappings.orders.filter_criteria.filters:"
                " 6 filters work here, but AWS takes 5, or up to 10 after a quota raise"
            ),
        ),
    ],
)
def test_what_is_accepted_without_effect_or_beyond_aws_is_told(write: Write, settings: str, warning: str) -> None:
    path = write(f"{FUNCTIONS}mappings:\n  orders:\n    Queue: {ARN}\n    {settings}\n    function_name: f\n")
    assert load([path], environ={}).config is not None
    assert lines(path) == [warning]


def test_a_suspicious_filter_is_told_at_its_place_in_the_pattern(write: Write) -> None:
    path = write(
        f"{FUNCTIONS}mappings:\n  a:\n    event_source_arn: {ARN}\n    function_name: f\n    filter_criteria:\n"
        "      filters:\n        - pattern: {body: {a: [1]}, eventSource: ['aws:sqs']}\n"
    )
    (diagnostic,) = load([path], environ={}).diagnostics
    assert (diagnostic.line, diagnostic.column, diagnostic.severity) == (8, 50, "warning")
    assert diagnostic.path == "mappings.a.filter_criteria.filters[0].pattern.eventSource"


def test_a_folder_that_does_not_exist_is_told(write: Write) -> None:
    path = write(
        "state: {path: esmd.db}\nfunctions: {f: {handler: m.f, python_path: [., lib]}}\n"
        f"mappings: {{a: {{event_source_arn: '{ARN}', function_name: f}}}}"
    )
    config = valid(path, warnings=1)
    assert config.state.path == path.parent / "esmd.db"
    assert config.functions["f"].python_path == (path.parent, path.parent / "lib")
    assert lines(path) == [
        'esmd.yaml:2:48: warning: functions.f.python_path[1]: no such folder: "lib"',
    ]


def test_caps_that_exceed_the_reserved_concurrency_are_told_once(write: Write) -> None:
    path = write(
        "functions: {f: {handler: m.f, reserved_concurrency: 10}}\nmappings:\n"
        + "".join(
            f"  {name}: {{Queue: '{ARN}-{name}', FunctionName: f, ScalingConfig: {{MaximumConcurrency: 6}}{more}}}\n"
            for name, more in (("a", ""), ("off", ", Enabled: false"), ("b", ""), ("c", ""))
        )
    )
    (line,) = lines(path)
    assert line.startswith("esmd.yaml:5:")
    assert line.endswith(
        "mappings.b.ScalingConfig.MaximumConcurrency: the mappings of f may run 12 at once, but its reserved_concurrency"
        " is 10 (what is above waits and is throttled)"
    )


def test_a_configuration_without_mappings_is_valid_and_told(write: Write) -> None:
    path = write(FUNCTIONS)
    assert valid(path, warnings=1).mappings == {}
    assert lines(path) == ["esmd.yaml: warning: there are no mappings: nothing to run"]


# --- many problems


def test_diagnostics_are_in_the_order_of_files_and_lines(write: Write) -> None:
    second = write("functions: {f: {handler: m.f, b: 1, a: 2}}\nzzz: 1\naaa: 1\n", "a.yaml")
    first = write("mappings: 5\n", "b.yaml")
    places = [(each.file.name, each.line) for each in load([first, second], environ={}).diagnostics]
    assert places == [("b.yaml", 1), ("a.yaml", 1), ("a.yaml", 1), ("a.yaml", 2), ("a.yaml", 3)]


def test_endless_problems_are_counted_not_listed(write: Write) -> None:
    path = write("aws:\n" + "".join(f"  k{number}: 1\n" for number in range(1000)))
    diagnostics = load([path], environ={}).diagnostics
    assert len(diagnostics) == 201
    assert diagnostics[-1].message == "and 800 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x-a: " + "[" * 10_000, "nested deeper than 100 levels"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(200)), "nested deeper than 100 levels"),
        (
            "x-a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
            + "".join(f"x-{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)),
            "more than 50,000 values, aliases expanded",
        ),
        ("x-a: " + "x" * (4 * 1024 * 1024), "larger than 4 MiB"),
    ],
    ids=["flow", "block", "bomb", "size"],
)
def test_what_would_exhaust_a_reader_is_refused(write: Write, text: str, message: str) -> None:
    (diagnostic,) = load([write(text)], environ={}).diagnostics
    assert diagnostic.message == message
