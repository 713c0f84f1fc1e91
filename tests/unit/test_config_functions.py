"""Functions of every form, as they are read: what decides on the form, and what each setting becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esmd.config.loader import load
from esmd.config.schema import (
    AnyFunction,
    CommandFunction,
    Config,
    HttpFunction,
    LambdaFunction,
    PythonFunction,
    RoutedFunction,
)
from esmd.config.values import lambda_parts

if TYPE_CHECKING:
    from pathlib import Path

MAPPING = "mappings: {m: {event_source_arn: 'arn:aws:sqs:us-east-1:000000000000:orders', function_name: f}}\n"


def read(folder: Path, functions: str, *, warnings: list[str] | None = None) -> Config:
    path = folder / "esmd.yaml"
    path.write_text(f"functions:\n{functions}\n{MAPPING}")
    loaded = load([path], environ={"TOKEN": "s3cret"})
    assert loaded.config is not None, loaded.diagnostics
    assert [each.message for each in loaded.diagnostics] == (warnings or [])
    return loaded.config


def one(folder: Path, settings: str, *, warnings: list[str] | None = None) -> AnyFunction:
    return read(folder, f"  f: {settings}", warnings=warnings).functions["f"]


@pytest.mark.parametrize(
    ("settings", "form"),
    [
        ("{handler: m.f}", PythonFunction),
        ("{command: [./bootstrap]}", CommandFunction),
        ("{command: [./bootstrap], handler: index.handler}", CommandFunction),
        ("{url: 'http://127.0.0.1:9000/invoke'}", HttpFunction),
        ("{lambda: orders}", LambdaFunction),
        ("{versions: {g: 100}}\n  g: {handler: m.f}", RoutedFunction),
    ],
)
def test_a_setting_decides_on_the_form(tmp_path: Path, settings: str, form: type[AnyFunction]) -> None:
    assert type(one(tmp_path, settings)) is form


def test_a_process_is_described_in_lambdas_words(tmp_path: Path) -> None:
    function = one(
        tmp_path,
        "{Handler: m.f, Timeout: 30, MemorySize: 512, ReservedConcurrentExecutions: 4, ProvisionedConcurrentExecutions: 2,"
        " Environment: {Variables: {A: 1}}, idle_timeout: 10m, credentials: inherit}",
    )
    assert isinstance(function, PythonFunction)
    assert (function.timeout, function.memory_size, function.reserved_concurrency) == (30.0, 512, 4)
    assert (function.provisioned_concurrency, function.idle_timeout, function.credentials) == (2, 600.0, "inherit")
    assert function.environment == {"A": "1"}


def test_what_is_left_out_of_a_process_costs_nothing(tmp_path: Path) -> None:
    function = one(tmp_path, "{command: [./bootstrap, --fast]}")
    assert isinstance(function, CommandFunction)
    assert function.command == ("./bootstrap", "--fast")
    assert (function.handler, function.memory_size, function.provisioned_concurrency) == ("", None, 0)
    assert (function.credentials, function.idle_timeout, function.timeout) == ("none", 300.0, 3.0)


def test_a_url_takes_headers_from_variables_and_certificates_from_beside_the_file(tmp_path: Path) -> None:
    function = one(
        tmp_path,
        "{url: 'https://orders.internal/', payload: cloudevents, headers: {Authorization: 'Bearer ${TOKEN}'},"
        " function_error_statuses: [500, 501], ca_file: ca.pem, timeout: 10s}",
    )
    assert isinstance(function, HttpFunction)
    assert function.url == "https://orders.internal"
    assert function.headers == {"Authorization": "Bearer s3cret"}
    assert function.function_error_statuses == (500, 501)
    assert function.ca_file == tmp_path / "ca.pem"


def test_settings_of_certificates_without_effect_are_told(tmp_path: Path) -> None:
    effectless = ["has no effect: the URL is not https"]
    one(tmp_path, "{url: 'http://127.0.0.1:9000', ca_file: ca.pem}", warnings=effectless)
    one(tmp_path, "{url: 'http://127.0.0.1:9000', verify_tls: false}", warnings=effectless)
    unchecked = ["has no effect: verify_tls is false"]
    one(tmp_path, "{url: 'https://127.0.0.1:9000', verify_tls: false, ca_file: ca.pem}", warnings=unchecked)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("orders", ("orders", None)),
        ("orders:live", ("orders", "live")),
        ("orders:$LATEST", ("orders", "$LATEST")),
        ("123456789012:function:orders:7", ("123456789012:function:orders", "7")),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:orders:live",
            ("arn:aws:lambda:eu-west-1:123456789012:function:orders", "live"),
        ),
    ],
)
def test_a_function_of_lambda_is_named_as_lambda_does(
    tmp_path: Path, target: str, parts: tuple[str, str | None]
) -> None:
    function = one(tmp_path, f"{{lambda: '{target}', endpoint_url: 'http://127.0.0.1:3001/'}}")
    assert isinstance(function, LambdaFunction)
    assert function.target == target
    assert lambda_parts(function.target) == parts
    assert function.endpoint_url == "http://127.0.0.1:3001"
    assert function.timeout is None


def test_the_longest_invocation_is_that_of_the_slowest_version(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "  f: {versions: {quick: 90, slow: 10}}\n"
        "  quick: {handler: m.f, timeout: 5}\n"
        "  slow: {command: [./slow], timeout: 1m}\n"
        "  remote: {lambda: orders}\n"
        "  patient: {lambda: orders, timeout: 30}\n"
        "  mixed: {versions: {quick: 50, remote: 50}}",
    )
    assert config.versions_of("f") == {"quick": 90, "slow": 10}
    assert config.versions_of("quick") == {"quick": 100}
    longest = {name: config.longest_invocation(name) for name in config.functions}
    assert longest == {"f": 60.0, "quick": 5.0, "slow": 60.0, "remote": None, "patient": 30.0, "mixed": None}
