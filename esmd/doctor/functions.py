"""Can each function run: does its handler load, its program speak, its URL answer, its function exist?

| form              | what is done                                                                                     |
|-------------------|--------------------------------------------------------------------------------------------------|
| `handler`         | it is loaded in a process of its own, also an inline one; what it prints is counted, not shown    |
| `command`         | the program is started, and has to ask for its first event                                       |
| `url`             | a HEAD request; any answer will do                                                               |
| `lambda`          | its configuration is asked for                                                                   |
| `versions`        | all of these for each version                                                                    |

Nothing is invoked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from esmd.config.schema import HttpFunction, LambdaFunction, ProcessFunction, PythonFunction, RoutedFunction
from esmd.config.values import lambda_parts
from esmd.doctor.findings import advice, ok, problem, without_user
from esmd.doctor.surroundings import LONGEST
from esmd.functions import Functions
from esmd.invoke.protocol import StartFailed
from esmd.observe.events import HandlerOutput
from esmd.pollers.errors import classify

if TYPE_CHECKING:
    from esmd.config.schema import Config
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings
    from esmd.observe.events import Event

_CHECK = "function"


class _Lines:
    """Counts what handlers print while they load: it may hold anything, and is not ours to show."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def emit(self, event: Event, /) -> None:
        """Take one event."""
        if isinstance(event, HandlerOutput):
            self.counts[event.function] = self.counts.get(event.function, 0) + 1


async def check_functions(around: Surroundings) -> list[Finding]:
    """Each function that an enabled mapping invokes, by itself or as a version."""
    used = {version for each in around.mappings for version in around.config.versions_of(each.function_name)}
    lines = _Lines()
    functions = Functions(_for_loading(around.config), clients=around.clients, environ=around.environ, telemetry=lines)

    async def one(name: str) -> list[Finding]:
        settings = around.config.functions[name]
        match settings:
            case HttpFunction():
                return [await _url(name, settings)]
            case LambdaFunction():
                return [await _lambda(around, name, settings)]
            case _:
                return [await _load(functions, name, lines)]

    try:
        return await around.each(sorted(used), one)
    finally:
        await asyncio.gather(*(function.close() for function in functions.made.values()))


def _for_loading(config: Config) -> Config:
    """The configuration with one environment for each function, in a process of its own."""
    changed = {}
    for name, settings in config.functions.items():
        if isinstance(settings, RoutedFunction) or not isinstance(settings, ProcessFunction):
            continue
        apart = {"isolation": "worker"} if isinstance(settings, PythonFunction) else {}
        changed[name] = settings.model_copy(update={"provisioned_concurrency": 0, "reserved_concurrency": 1, **apart})
    return config.model_copy(update={"functions": {**config.functions, **changed}})


async def _load(functions: Functions, name: str, lines: _Lines) -> Finding:
    printed = f"esmd invoke {name} -e '{{}}' shows what it prints"
    try:
        async with asyncio.timeout(LONGEST):
            await functions.get(name).start()
    except StartFailed as error:
        message = " ".join(f"{error.error_type}: {error.message}".split())
        return problem(_CHECK, name, f"does not load: {message}", fix=f"mend the import or handler; {printed}")
    except TimeoutError:
        return problem(
            _CHECK, name, f"has not loaded within {LONGEST:g} s", fix=f"let it do less while it loads; {printed}"
        )
    count = lines.counts.get(name, 0)
    return ok(_CHECK, name, f"loads ({count} lines of output)" if count else "loads")


async def _url(name: str, settings: HttpFunction) -> Finding:
    where = without_user(settings.url)
    timeout = aiohttp.ClientTimeout(total=LONGEST / 2)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.head(
                settings.url, allow_redirects=False, ssl=settings.verify_tls and settings.ca_file is None
            ) as answer,
        ):
            return ok(_CHECK, name, f"{where} answers HTTP {answer.status}")
    except aiohttp.ClientSSLError as error:
        said = f"{where}: the certificate is not accepted: {type(error).__name__}"
        return problem(_CHECK, name, said, fix="name its authority in ca_file, or set verify_tls: false")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        said = f"{where} does not answer: {type(error).__name__}"
        return problem(_CHECK, name, said, fix="start what is behind it, or correct url")


async def _lambda(around: Surroundings, name: str, settings: LambdaFunction) -> Finding:
    target, qualifier = lambda_parts(settings.target)
    which = {"FunctionName": target} if qualifier is None else {"FunctionName": target, "Qualifier": qualifier}
    try:
        async with asyncio.timeout(LONGEST):
            client, _ = await around.clients.client("lambda", None, endpoint_url=settings.endpoint_url)
            found = await client.get_function_configuration(**which)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is classified and said
        failure = classify(error)
        said = f"{settings.target}: {failure.message}"
        if failure.code == "ResourceNotFoundException":
            return problem(_CHECK, name, said, fix="deploy it, or correct lambda and endpoint_url")
        if failure.status == 403:
            return advice(_CHECK, name, said, fix="nothing, if invoking it is allowed")
        return problem(_CHECK, name, said, fix="see that the endpoint of Lambda is reachable")
    return ok(
        _CHECK, name, f"{settings.target} exists ({found.get('Runtime') or found.get('PackageType') or 'no runtime'})"
    )
