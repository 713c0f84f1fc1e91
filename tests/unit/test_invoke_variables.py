"""The environment of a handler's process."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from esmd.invoke.variables import log_stream_name, process_environment

from support.invocations import command, function


def environment(daemon=None, **changes):
    return process_environment(function("app:handle", **changes), log_stream="the/stream", daemon=daemon or {})


def test_nothing_of_the_daemons_comes_along_unless_it_is_listed():
    daemon = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy",
        "PYTHONPATH": "/lib",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_PROFILE": "production",
        "DATABASE_PASSWORD": "secret",
        "PYTHONINSPECT": "1",
        "PYTHONSTARTUP": "/tmp/x",
    }
    inherited = environment(daemon).items() & daemon.items()
    assert dict(inherited) == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy",
        "PYTHONPATH": "/lib",
    }


def test_lambdas_variables_are_there():
    assert environment(memory_size=256) == {
        "TZ": ":UTC",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
        "AWS_LAMBDA_LOG_STREAM_NAME": "the/stream",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python3.{sys.version_info.minor}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "_HANDLER": "app:handle",
        "LAMBDA_TASK_ROOT": function("app:handle").python_path[0],
    }


def test_a_programs_variables_are_those_of_a_runtime_of_ones_own():
    spec = command(["./bootstrap"], handler="function.handler", working_directory="/srv")
    found = process_environment(spec, log_stream="the/stream", daemon={})
    assert "AWS_EXECUTION_ENV" not in found
    assert (found["_HANDLER"], found["LAMBDA_TASK_ROOT"]) == ("function.handler", "/srv")


def test_a_provisioned_environment_knows_that_it_is():
    found = process_environment(
        function("app:handle"), log_stream="s", initialization_type="provisioned-concurrency", daemon={}
    )
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"


def test_later_sources_win():
    result = environment(
        {"TZ": "Europe/Paris", "PATH": "/bin"},
        aws_environment={"AWS_ENDPOINT_URL": "http://local", "AWS_REGION": "us-east-1"},
        environment={"AWS_REGION": "eu-north-1", "PATH": "/mine"},
    )
    assert result["TZ"] == "Europe/Paris"
    assert result["AWS_ENDPOINT_URL"] == "http://local"
    assert result["AWS_REGION"] == "eu-north-1"
    assert result["PATH"] == "/mine"


def test_without_a_python_path_the_task_root_is_the_working_directory():
    assert environment(python_path=(), working_directory="/srv")["LAMBDA_TASK_ROOT"] == "/srv"


def test_every_environment_has_a_log_stream_of_its_own():
    day = datetime(2026, 3, 1, tzinfo=UTC)
    assert log_stream_name(day).startswith("2026/03/01/[$LATEST]")
    assert log_stream_name(day) != log_stream_name(day)
