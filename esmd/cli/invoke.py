"""`esmd invoke`: one invocation of a function, by the way that its mappings take.

| outcome       | stdout                | stderr                              | exit code |
|---------------|-----------------------|-------------------------------------|-----------|
| success       | the answer            | timing, how mappings would read it  | 0         |
| function error | Lambda's error object | timing                              | 1         |
| throttled     | nothing               | timing and Lambda's reason          | 1         |
| unreachable   | nothing               | timing and why                      | 1         |
| rejected      | nothing               | timing and why                      | 1         |

Of several invocations the worst counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from esmd.cli.configuration import load_configuration
from esmd.cli.exits import Exit
from esmd.cli.options import Duration, log_format_option, log_level_option
from esmd.cli.pretty import put
from esmd.cli.shown import title_of, version_of
from esmd.invoke.payloads import payload_of
from esmd.mappings.outcomes import Success

if TYPE_CHECKING:
    from esmd.config.schema import Config
    from esmd.function import Function
    from esmd.observe.events import Event
    from esmd.observe.logging import Format


@click.command("invoke")
@click.argument("function")
@click.argument("paths", metavar="[CONFIG]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-e",
    "--event",
    default="{}",
    metavar="EVENT",
    help="A file, - for standard input, or JSON text that begins with { or [.  [default: {}]",
)
@click.option(
    "-n",
    "--times",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Invoke it so often, one after the other: the first call loads the function, the others find it loaded.",
)
@click.option("--timeout", type=Duration(), metavar="DURATION", help="Instead of the function's own.")
@log_format_option
@log_level_option("info")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Allow a function of Lambda, or one with credentials, at an endpoint that is not local (aws.allow_remote).",
)
def command(
    *,
    function: str,
    paths: tuple[Path, ...],
    event: str,
    times: int,
    timeout: float | None,
    log_format: Format,
    log_level: str,
    allow_remote: bool,
) -> None:
    """Invoke FUNCTION of CONFIG once, and show what comes of it.

    The function is started and invoked as its mappings would, whatever its form, and ended afterwards. Its answer, or
    Lambda's error object if it fails, goes to stdout. Its output, timing, and how a mapping with
    ReportBatchItemFailures would read the answer go to stderr.

    The exit code is 1 if the function failed or could not be reached, 2 for wrong usage, 78 for a wrong configuration.

    \b
    Examples:
      esmd invoke orders -e event.json
      esmd event sqs --body '{"order": 7}' -n 3 | esmd invoke orders -e -
      esmd invoke orders shop.yaml -e '{"Records": []}' --timeout 15m
      esmd invoke orders -n 20 > /dev/null     # how fast is it, once it is loaded?
    """  # noqa: D301 - click reads the character of \b, not its escape
    payload = _event(event)
    config = load_configuration(paths, warnings=[])  # they are about running it, and `run` and `lint` say them
    if function not in config.functions:
        known = ", ".join(sorted(config.functions)) or "none"
        raise click.BadParameter(f"there is no function {function!r}; there are: {known}", param_hint="FUNCTION")
    try:
        done = asyncio.run(
            _invoke(
                _for_one_invocation(config, function, timeout),
                function,
                payload,
                times=times,
                log_format=log_format,
                log_level=log_level,
                allow_remote=allow_remote,
            )
        )
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(Exit.INTERRUPTED) from None
    raise SystemExit(Exit.OK if done else Exit.FAILED)


# --- the event


def _event(argument: str) -> bytes:
    """The event's bytes, which are JSON in UTF-8."""
    if argument.lstrip()[:1] in {"{", "["}:
        return _json(argument.encode(errors="surrogateescape"), "")
    if argument == "-":
        return _json(sys.stdin.buffer.read(), "standard input: ")
    try:
        return _json(Path(argument).read_bytes(), f"{argument}: ")
    except OSError as error:
        hint = "; JSON text begins with { or [" if isinstance(error, FileNotFoundError) else ""
        _bad_event(f"cannot read {argument!r}: {error.strerror}{hint}")


def _json(data: bytes, where: str) -> bytes:
    """The same bytes, without the mark that some editors put in front."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        json.loads(data.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        _bad_event(f"{where}not UTF-8 at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        _bad_event(f"{where}not JSON: {error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _bad_event(f"{where}nested too deeply")
    return data


def _refuse_constant(name: str) -> NoReturn:
    _bad_event(f"not JSON: {name} is no value of JSON")


def _bad_event(message: str) -> NoReturn:
    raise click.BadParameter(message, param_hint="--event")


# --- the function


def _for_one_invocation(config: Config, name: str, timeout: float | None) -> Config:
    """The configuration with what was asked for, for the function and every version that it routes to.

    One environment is enough, however many would be provisioned.
    """
    from esmd.config.schema import ProcessFunction  # noqa: PLC0415 - needs the models, and `--help` does not

    changed = {}
    for version in config.versions_of(name):
        settings = config.functions[version]
        update: dict[str, float] = {} if timeout is None else {"timeout": timeout}
        if isinstance(settings, ProcessFunction):
            update["provisioned_concurrency"] = 0
        changed[version] = settings.model_copy(update=update)
    return config.model_copy(update={"functions": {**config.functions, **changed}})


class _Stopwatch:
    """Tells the time of an invocation from the time of the init before it."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._init: float | None = None

    def start(self) -> None:
        """An invocation begins."""
        self._began = time.perf_counter()
        self._init = None

    def sink(self, event: Event) -> None:
        """Listen to the events: the handler itself begins when its environment is ready."""
        if event.name == "function.init":
            self._init = (self._init or 0) + (time.perf_counter() - self._began) * 1000
            self._began = time.perf_counter()

    def stop(self) -> tuple[float | None, float]:
        """Milliseconds of the init, if there was one, and of the invocation."""
        return self._init, (time.perf_counter() - self._began) * 1000


async def _invoke(
    config: Config, name: str, event: bytes, *, times: int, log_format: Format, log_level: str, allow_remote: bool
) -> bool:
    """Invoke, and say what comes of it; whether all went well."""
    # All of this brings botocore, which a wrong event or configuration need not wait for.
    from esmd.assembly import make_clients  # noqa: PLC0415
    from esmd.cli.remote import refuse_remote_functions  # noqa: PLC0415
    from esmd.functions import Functions  # noqa: PLC0415
    from esmd.observe import logging  # noqa: PLC0415
    from esmd.observe.telemetry import Broadcast  # noqa: PLC0415

    # As an interrupt does: a handler's process must not outlive us.
    this_task = asyncio.current_task()
    if this_task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this_task.cancel)
    watch = _Stopwatch()
    telemetry = Broadcast(logging.configure(log_format=log_format, level=log_level), watch.sink)
    async with make_clients(config.aws, os.environ) as clients:
        if not (allow_remote or config.aws.allow_remote):
            await refuse_remote_functions(config, [name], clients, environ=os.environ)
        functions = Functions(config, clients=clients, environ=os.environ, telemetry=telemetry)
        try:
            return await _repeat(config, functions.get(name), event, times=times, watch=watch)
        finally:
            await asyncio.gather(*(each.close() for each in functions.made.values()))


async def _repeat(config: Config, function: Function, event: bytes, *, times: int, watch: _Stopwatch) -> bool:
    from esmd.cli.readings import readings  # noqa: PLC0415
    from esmd.observe.context import request_context  # noqa: PLC0415
    from esmd.observe.ids import new_request_id  # noqa: PLC0415

    failed = 0
    durations = []
    for number in range(1, times + 1):
        request_id = new_request_id()
        with (
            request_context(request_id, function=function.name),
            # An inline handler prints into our own stdout, which is for the answer alone.
            contextlib.redirect_stdout(sys.stderr),
        ):
            watch.start()
            outcome = await function.invoke(event, request_id=request_id)
            init, duration = watch.stop()
        durations.append(duration)
        failed += not isinstance(outcome, Success)
        if (body := payload_of(outcome, request_id)) is not None:
            put(body)
        init_text = "" if init is None else f"init {init:.1f} ms, "
        count = f"{number}/{times}: " if times > 1 else ""
        _say(
            f"{count}{title_of(outcome, limit=function.limit)}: {init_text}duration {duration:.1f} ms{version_of(outcome)}"
        )
        if isinstance(outcome, Success):
            for line in readings(config, function.name, event, outcome):
                _say(line)
    if times > 1:
        low, middle, high = min(durations), statistics.median(durations), max(durations)
        _say(
            f"{times} invocations, {failed} failed: duration {low:.1f} ms at least, {middle:.1f} ms in the middle, "
            f"{high:.1f} ms at most"
        )
    return not failed


def _say(text: str) -> None:
    click.echo(f"esmd invoke: {text}", err=True)
