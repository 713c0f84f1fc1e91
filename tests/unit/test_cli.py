"""The command line: help that teaches, exit codes, durations, where the configuration comes from, what reaches the daemon."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from esmd import __version__
from esmd.assembly import make_clients
from esmd.cli import cli
from esmd.cli.exits import Exit
from esmd.cli.launch import refuse_remote
from esmd.cli.options import Duration, longest_poll_for
from esmd.config.loader import load
from esmd.pollers.localstack import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

COMMANDS = ["run", "dev", "invoke", "event", "lint", "filter", "schema", "doctor", "import", "init", "completion"]


def esmd(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=environ)


def write(folder: Path, name: str = "esmd.yaml", **mappings: dict[str, Any]) -> Path:
    """A configuration with these mappings (`orders`, if none is given), each of the queue of its name."""
    folder.mkdir(exist_ok=True)
    (folder / "handlers.py").write_text("def handle(event, context):\n    pass\n")
    arn = "arn:aws:sqs:us-east-1:000000000000:"
    file = folder / name
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "functions": {"handle": {"handler": "handlers:handle"}},
                "mappings": {
                    key: {"event_source_arn": arn + key, "function_name": "handle", **value}
                    for key, value in (mappings or {"orders": {}}).items()
                },
            }
        )
    )
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- help


def test_the_first_help_lists_every_command_and_every_exit_code():
    result = esmd("--help")
    assert result.exit_code == 0
    assert [name for name in COMMANDS if not re.search(rf"^  {name}  ", result.output, re.MULTILINE)] == []
    listed = {int(code) for code in re.findall(r"^ +(\d+)  +\S", result.output, re.MULTILINE)}
    assert listed == {int(code) for code in Exit}


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_and_what_each_option_means(name, flag):
    result = esmd(name, flag)
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 8
    assert "\\b" not in result.output
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    mute = [p.opts for p in command.params if isinstance(p, click.Option) and not p.help]
    assert mute == []


@pytest.mark.parametrize("name", ["run", "dev", "filter"])
def test_commands_with_options_show_examples(name):
    output = esmd(name, "--help").output
    examples = re.findall(rf"^ +(?:.*\| |[A-Z_]+=\S+ )?esmd {name}\b.*$", output, re.MULTILINE)
    assert len(examples) >= 3


@pytest.mark.parametrize("name", ["run", "dev"])
def test_options_named_in_examples_exist(name):
    output = esmd(name, "--help").output
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {opt for p in command.params for opt in p.opts} | {"--help"}
    in_examples = {
        option
        for line in re.findall(rf"^.*\besmd {name} .*$", output, re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line)
    }
    assert in_examples
    assert in_examples <= known


def test_the_version_is_said():
    assert esmd("--version").output == f"esmd, version {__version__}\n"


# --- usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["run", "--frobnicate"],
        ["run", "--grace", "soon"],
        ["run", "--log-level", "loud"],
        ["run", "--log-format", "xml"],
        ["dev", "--allow-remote"],
        ["lint", "--format", "xml"],
        ["filter"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_says_what_is_wrong(arguments):
    write(Path())
    result = esmd(*arguments)
    assert result.exit_code == Exit.USAGE
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


def test_without_a_command_the_help_is_shown():
    result = esmd()
    assert "Commands" in result.output
    assert result.exit_code == Exit.USAGE


# --- durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("0", 0.0),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("0.5h", 1800.0),
        (2.5, 2.5),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_has_a_unit(text, seconds):
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "-1s", "+1s", "1d", "1 s", "1e3", "1_000", "1.", ".5", "1S", "5m30s", "nan", "inf", "٣s"]
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(click.BadParameter, match="is not a duration; write seconds, or 500ms, 30s, 5m, 1h"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(("idle", "poll"), [(None, None), (0.0, 1), (0.2, 1), (2.5, 3), (5.0, 5), (600.0, 5)])
def test_a_run_that_ends_when_idle_polls_shortly(idle, poll):
    assert longest_poll_for(idle) == poll


# --- what reaches the daemon


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What `launch` was called with; the daemon itself does not run."""
    calls: list[SimpleNamespace] = []

    async def launch(config, options, **others):
        calls.append(SimpleNamespace(config=config, options=options, **others))
        return Exit.CUT_SHORT

    monkeypatch.setattr("esmd.cli.launch.launch", launch)
    return calls


def test_the_daemons_exit_code_is_the_commands(launched):
    write(Path())
    assert esmd("run").exit_code == Exit.CUT_SHORT


def test_defaults_are_those_of_the_help(launched):
    write(Path())
    esmd("run")
    [call] = launched
    daemon = call.options.daemon
    assert (daemon.grace, daemon.exit_when_idle, daemon.fail_fast, daemon.stats_period) == (30.0, None, False, 60.0)
    assert (call.options.only, call.options.longest_poll, call.options.log_payloads) == (frozenset(), None, False)
    assert (call.log.log_format, call.log.level, call.allow_remote) == ("auto", "info", False)


def test_every_option_reaches_it(launched):
    write(Path(), orders={}, payments={})
    result = esmd(
        "run", "--grace", "5m", "--exit-when-idle", "2s", "--fail-fast", "--stats-every", "500ms", "--only", "orders",
        "--only", "payments", "--log-payloads", "--allow-remote", "--log-format", "json", "--log-level", "debug",
    )  # fmt: skip
    assert result.exit_code == Exit.CUT_SHORT, result.output
    [call] = launched
    daemon = call.options.daemon
    assert (daemon.grace, daemon.exit_when_idle, daemon.fail_fast, daemon.stats_period) == (300.0, 2.0, True, 0.5)
    assert (call.options.only, call.options.longest_poll) == ({"orders", "payments"}, 2)
    assert (call.options.log_payloads, call.allow_remote) == (True, True)
    assert (call.log.log_format, call.log.level) == ("json", "debug")


def test_log_options_may_come_from_the_environment(launched):
    write(Path())
    esmd("run", ESMD_LOG_FORMAT="console", ESMD_LOG_LEVEL="error")
    assert (launched[0].log.log_format, launched[0].log.level) == ("console", "error")


def test_statistics_every_nothing_are_refused(launched):
    write(Path())
    result = esmd("run", "--stats-every", "0")
    assert (result.exit_code, launched) == (Exit.USAGE, [])


# --- --only


@pytest.mark.parametrize("command", ["run", "dev"])
def test_only_names_mappings_that_are_there_and_enabled(launched, command):
    write(Path(), orders={}, payments={"enabled": False})
    unknown = esmd(command, "--only", "oders")
    assert unknown.exit_code == Exit.USAGE
    assert "there is no mapping 'oders'; there are: orders, payments" in unknown.stderr
    disabled = esmd(command, "--only", "payments")
    assert disabled.exit_code == Exit.USAGE
    assert "the mapping 'payments' is disabled" in disabled.stderr
    assert launched == []


# --- where the configuration comes from


def names_of(call: SimpleNamespace) -> set[str]:
    return set(call.config.mappings)


def test_the_configuration_is_what_is_named_then_the_file_here_then_the_variable(launched, here):
    named = write(here / "named", named={})
    variable = write(here / "variable", variable={})
    environ = {"ESMD_CONFIG": str(variable)}
    esmd("run", **environ)
    write(here, default={})
    esmd("run", **environ)
    esmd("run", str(named), **environ)
    assert [names_of(call) for call in launched] == [{"variable"}, {"default"}, {"named"}]


def test_esmd_config_may_name_a_folder(launched, here):
    folder = write(here / "folder", "one.yaml", one={}).parent
    esmd("run", ESMD_CONFIG=str(folder))
    assert names_of(launched[0]) == {"one"}


@pytest.mark.parametrize("command", ["run", "dev", "lint"])
def test_without_any_configuration_it_is_78_and_says_how_to_name_one(command, launched):
    result = esmd(command)
    assert result.exit_code == Exit.CONFIG
    assert "Name a file or folder, write ./esmd.yaml, or set ESMD_CONFIG." in result.stderr
    assert launched == []


@pytest.mark.parametrize("command", ["run", "dev"])
def test_an_invalid_configuration_is_78_with_every_error_and_starts_nothing(command, launched, here):
    write(here, one={"batch_size": 0}, two={"batchsize": 1})
    result = esmd(command)
    assert result.exit_code == Exit.CONFIG
    assert len(re.findall(r"^esmd\.yaml:\d+:\d+: mappings\.(?:one|two)", result.stderr, re.MULTILINE)) == 2
    assert launched == []


# --- dev


def test_dev_uses_a_configured_endpoint_and_polls_shortly(launched, here):
    write(here)
    result = esmd("dev", "--exit-when-idle", "10s", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert result.exit_code == Exit.CUT_SHORT, result.output
    [call] = launched
    chosen = call.companion.keywords["options"]
    assert (chosen.endpoint_url, chosen.embedded, chosen.samples, chosen.made_up) == (
        "http://127.0.0.1:1",
        False,
        [],
        False,
    )
    assert call.options.longest_poll == 1
    assert call.log.level == "debug"


@pytest.mark.parametrize(
    ("arguments", "made_up", "samples"), [(["--traffic"], True, 0), (["--traffic", "traffic.jsonl"], False, 1)]
)
def test_dev_traffic_is_made_up_or_that_of_a_file(launched, here, arguments, made_up, samples):
    write(here)
    (here / "traffic.jsonl").write_text('{"queue": "orders", "body": 1}\n')
    esmd("dev", *arguments, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    chosen = launched[0].companion.keywords["options"]
    assert (chosen.made_up, len(chosen.samples)) == (made_up, samples)


def test_dev_refuses_a_sample_file_with_its_line_before_anything_runs(launched, here):
    write(here)
    (here / "traffic.jsonl").write_text('{"queue": "orders", "body": 1}\n{"queue": "orders"}\n')
    result = esmd("dev", "--traffic", "traffic.jsonl", AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert result.exit_code == Exit.FAILED
    assert "traffic.jsonl:2: not a sample" in result.stderr
    assert launched == []


def test_dev_without_an_emulator_says_how_to_get_one(launched, here, monkeypatch):
    from esmd.testing.embedded import EmulatorMissingError

    def missing() -> list[str]:
        raise EmulatorMissingError("The embedded AWS needs MiniStack, which is not installed: pip install 'esmd[dev]'")

    monkeypatch.setattr("esmd.testing.embedded.find_ministack", missing)
    write(here)
    result = esmd("dev")
    assert result.exit_code == Exit.FAILED
    assert "pip install 'esmd[dev]'" in result.stderr


# --- never somebody's production by accident


class Clients:
    """Clients whose endpoint is what botocore would have made of it."""

    def __init__(self, configured: str | None, real: str, *, error: Exception | None = None) -> None:
        self._configured = configured
        self._real = real
        self._error = error

    def plain(self, service: str, region: str | None) -> None:
        """Nothing is plain here: botocore has to be asked."""

    async def client(self, service: str, region: str | None) -> tuple[Any, Connection]:
        if self._error is not None:
            raise self._error
        made = SimpleNamespace(meta=SimpleNamespace(endpoint_url=self._real))
        return made, Connection(endpoint_url=self._configured, region=region, dummy_credentials=False)


LOCAL, AWS, OTHER = "http://127.0.0.1:4566", "https://sqs.us-east-1.amazonaws.com", "https://aws.example.com"


@pytest.mark.parametrize(
    ("configured", "real", "refused"),
    [
        (LOCAL, LOCAL, False),
        (None, AWS, True),
        (None, OTHER, True),  # out of a profile
        (None, LOCAL, False),  # out of a profile too
        (OTHER, OTHER, True),
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
async def test_an_endpoint_that_is_not_local_needs_a_word(here, configured, real, refused, allowed):
    config = load([write(here)], environ={}).config
    assert config is not None
    attempt: Callable[[], Any] = lambda: refuse_remote(  # noqa: E731 - called twice below
        config,
        Clients(configured, real),  # type: ignore[arg-type]
        allow_remote=allowed,
    )
    if not refused or allowed:
        await attempt()
        return
    with pytest.raises(click.ClickException, match="allow") as caught:
        await attempt()
    assert caught.value.exit_code == Exit.CONFIG


@pytest.mark.parametrize(("url", "refused"), [(LOCAL, False), ("http://aws.example.com", True)])
async def test_a_plain_endpoint_is_judged_without_a_client(here, monkeypatch, url, refused):
    config = load([write(here)], environ={}).config
    assert config is not None
    clients = make_clients(config.aws.model_copy(update={"endpoint_url": url}), {})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setattr(clients, "client", None)  # whoever asks for one fails
    if not refused:
        await refuse_remote(config, clients, allow_remote=False)
        return
    with pytest.raises(click.ClickException, match="not a local endpoint"):
        await refuse_remote(config, clients, allow_remote=False)


async def test_a_client_that_cannot_be_made_is_an_error_for_people(here):
    config = load([write(here)], environ={}).config
    assert config is not None
    clients = Clients(None, AWS, error=RuntimeError("The config profile (work) could not be found"))
    with pytest.raises(click.ClickException, match="profile \\(work\\)") as caught:
        await refuse_remote(config, clients, allow_remote=False)  # type: ignore[arg-type]
    assert caught.value.exit_code == Exit.CONFIG
