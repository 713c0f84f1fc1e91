"""Functions made from the configuration: their specifications, and that each is made once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from esmd.assembly import make_clients
from esmd.config.loader import load
from esmd.functions import Functions
from esmd.invoke import factory
from esmd.invoke.protocol import CommandSpec, FunctionSpec, HttpSpec, LambdaSpec, PythonSpec
from esmd.observe.telemetry import Broadcast

if TYPE_CHECKING:
    from pathlib import Path

    from esmd.config.schema import Config

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
LOCAL = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> dict[str, FunctionSpec]:
    """The specifications that invokers are made from."""
    made: dict[str, FunctionSpec] = {}
    make = factory.make_invoker

    def remember(spec: Any, **options: Any) -> Any:
        assert spec.name not in made, "a function was made twice"
        made[spec.name] = spec
        return make(spec, **options)

    monkeypatch.setattr("esmd.functions.make_invoker", remember)
    return made


def configuration(folder: Path, functions: str, *, function_name: str = "f") -> Config:
    path = folder / "esmd.yaml"
    path.write_text(
        f"functions:\n{functions}\nmappings:\n  m: {{event_source_arn: '{QUEUE}', function_name: {function_name}}}\n"
    )
    loaded = load([path], environ={})
    assert loaded.config is not None, loaded.diagnostics
    return loaded.config


async def functions_of(config: Config, environ: dict[str, str]) -> Functions:
    return Functions(config, clients=make_clients(config.aws, environ), environ=environ, telemetry=Broadcast())


async def test_a_process_is_specified_in_full(tmp_path: Path, specs: dict[str, FunctionSpec]) -> None:
    config = configuration(
        tmp_path,
        "  f: {handler: m.f, timeout: 5, memory_size: 512, reserved_concurrency: 4, provisioned_concurrency: 2,"
        " idle_timeout: 1m, environment: {A: b}, python_path: [lib]}\n"
        "  g: {command: [./bootstrap, x], handler: index.handler}",
    )
    functions = await functions_of(config, LOCAL)
    assert functions.get("f").arn == "arn:aws:lambda:eu-west-1:111122223333:function:f"
    functions.get("g")
    spec = specs["f"]
    assert isinstance(spec, PythonSpec)
    assert (spec.handler, spec.python_path) == ("m:f", (str(tmp_path / "lib"),))
    assert (spec.timeout, spec.concurrency, spec.provisioned_concurrency, spec.idle_timeout) == (5.0, 4, 2, 60.0)
    assert (spec.memory_size, spec.memory_limit, spec.environment) == (512, 512, {"A": "b"})
    assert (spec.region, spec.account_id, spec.working_directory) == ("eu-west-1", "111122223333", str(tmp_path))
    assert spec.aws_environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    command = specs["g"]
    assert isinstance(command, CommandSpec)
    assert (command.command, command.handler) == (("./bootstrap", "x"), "index.handler")
    assert (command.memory_size, command.memory_limit, command.concurrency) == (128, None, 64)
    assert (command.region, command.account_id) == ("us-east-1", "000000000000")  # no mapping uses it


async def test_what_is_not_a_process_here_is_specified_in_full(tmp_path: Path, specs: dict[str, FunctionSpec]) -> None:
    config = configuration(
        tmp_path,
        "  f: {url: 'https://127.0.0.1:9000/invoke', headers: {A: b}, function_error_statuses: [500], payload: cloudevents,"
        " ca_file: ca.pem}\n"
        "  g: {lambda: 'orders:live', endpoint_url: 'http://127.0.0.1:3001', reserved_concurrency: 2}\n"
        "  h: {handler: m.f, isolation: inline}",
    )
    functions = await functions_of(config, LOCAL)
    assert [functions.get(name).limit for name in "fgh"] == [1000, 2, 1000]
    web, remote, inline = specs["f"], specs["g"], specs["h"]
    assert isinstance(web, HttpSpec)
    assert (web.url, web.headers, web.function_error_statuses) == ("https://127.0.0.1:9000/invoke", {"A": "b"}, {500})
    assert (web.payload, web.ca_file, web.verify_tls) == ("cloudevents", str(tmp_path / "ca.pem"), True)
    assert isinstance(remote, LambdaSpec)
    assert (remote.target, remote.qualifier, remote.timeout) == ("orders", "live", 900.0)
    assert remote.endpoint_url == "http://127.0.0.1:3001"
    assert functions.get("g").arn == "arn:aws:lambda:us-east-1:000000000000:function:orders:live"
    assert isinstance(inline, PythonSpec)
    assert inline.aws_environment == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }, "an inline handler shares the daemon's variables: nothing that hides credentials may get there"


async def test_versions_are_the_registered_functions_and_made_once(
    tmp_path: Path, specs: dict[str, FunctionSpec]
) -> None:
    config = configuration(
        tmp_path,
        "  f: {versions: {blue: 90, green: 10}}\n"
        "  blue: {handler: m.f, reserved_concurrency: 3}\n"
        "  green: {handler: m.g, reserved_concurrency: 5}\n"
        "  other: {handler: m.h}",
    )
    functions = await functions_of(config, LOCAL)
    blue, routed = functions.get("blue"), functions.get("f")
    assert functions.get("blue") is blue
    assert functions.get("f") is routed
    assert (routed.limit, routed.room) == (8, 3)
    assert set(functions.made) == {"f", "blue", "green"}
    assert routed.arn == "arn:aws:lambda:eu-west-1:111122223333:function:f"
    assert specs["green"].region == "eu-west-1"  # a version is at home where the mapping is


@pytest.mark.parametrize(
    ("setting", "environ", "found"),
    [
        ("none", {**LOCAL}, {"AWS_ACCESS_KEY_ID": "test", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}),
        ("none", {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, {"AWS_ACCESS_KEY_ID": None}),
        ("inherit", {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, {"AWS_ACCESS_KEY_ID": "AKIA"}),
        ("none", {**LOCAL, "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}, {"AWS_ACCESS_KEY_ID": "test"}),
        ("inherit", {"AWS_PROFILE": "dev"}, {"AWS_PROFILE": "dev", "AWS_ACCESS_KEY_ID": None}),
    ],
)
async def test_credentials_are_handed_on_only_where_that_is_written(
    tmp_path: Path,
    specs: dict[str, FunctionSpec],
    setting: str,
    environ: dict[str, str],
    found: dict[str, str | None],
) -> None:
    config = configuration(tmp_path, f"  f: {{handler: m.f, credentials: {setting}}}")
    (await functions_of(config, environ)).get("f")
    spec = specs["f"]
    assert isinstance(spec, PythonSpec)
    assert {name: spec.aws_environment.get(name) for name in found} == found
