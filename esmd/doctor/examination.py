"""Runs every check, side by side and bounded; the findings come in the order of the checks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from esmd.config import aws
from esmd.config.schema import LambdaFunction, StreamMapping
from esmd.doctor.endpoints import check_clock, check_credentials, check_endpoints
from esmd.doctor.findings import problem
from esmd.doctor.functions import check_functions
from esmd.doctor.machine import check_control, check_state
from esmd.doctor.probes import Probe, probe
from esmd.doctor.queues import check_queues
from esmd.doctor.settings import check_settings
from esmd.doctor.streams import check_destinations, check_streams
from esmd.functions import place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from esmd.config.schema import Config
    from esmd.doctor.findings import Finding
    from esmd.doctor.surroundings import Surroundings
    from esmd.pollers.localstack import LocalStackClients

    Check = Callable[[Surroundings], Awaitable[list[Finding]]]

LONGEST_CHECK: Final = 120.0
"""Seconds that one check may take, about however many things it asks."""

OF_AWS: Final[Mapping[str, Check]] = {
    "endpoint": check_endpoints,
    "clock": check_clock,
    "credentials": check_credentials,
    "queues": check_queues,
    "streams": check_streams,
    "destinations": check_destinations,
}
"""Checks that ask the endpoint."""

OF_MACHINE: Final[Mapping[str, Check]] = {
    "functions": check_functions,
    "settings": check_settings,
    "state": check_state,
    "control": check_control,
}
"""Checks that look at this machine."""

_SERVICES: Final = {"sqs": "sqs", "kinesis": "kinesis", "dynamodb": "dynamodbstreams"}


async def examine(around: Surroundings, *, remote: bool) -> list[Finding]:
    """Everything that all checks find.

    Args:
        around: what they look at; the endpoints are probed here.
        remote: whether the endpoint may be asked: without it only this machine is looked at.
    """
    of_aws = OF_AWS if remote else {}
    if remote:
        around = replace(around, probes=await _probes(around.config, around.clients, around.environ))
        if around.probes and all(each.error is not None for each in around.probes.values()):
            of_aws = {"endpoint": check_endpoints}  # nobody is there: every other check would say only that again
    checks = {**of_aws, **OF_MACHINE}
    found = await asyncio.gather(*(_checked(name, check, around) for name, check in checks.items()))
    return [finding for findings in found for finding in findings]


async def _checked(name: str, check: Check, around: Surroundings) -> list[Finding]:
    """One check; a defect of it is a finding too, and keeps no other from speaking."""
    try:
        async with asyncio.timeout(LONGEST_CHECK):
            return await check(around)
    except TimeoutError:
        return [problem(name, "the check itself", f"not done within {LONGEST_CHECK:g} s", fix="try again")]
    except Exception as error:  # noqa: BLE001 - the other checks are worth having
        said = f"could not be made: {type(error).__name__}"
        return [problem(name, "the check itself", said, fix="please report it, with the configuration")]


async def _probes(config: Config, clients: LocalStackClients, environ: Mapping[str, str]) -> dict[str, Probe]:
    """What stands at the endpoint of every service that is called, each asked once."""
    services = set()
    for mapping in config.mappings.values():
        if mapping.enabled:
            region, _ = place_of(mapping)
            services.add((_SERVICES[mapping.source], region))
            if isinstance(mapping, StreamMapping) and mapping.on_failure is not None:
                services.add((mapping.on_failure.service, mapping.on_failure.region or region))
            functions = (config.functions[each] for each in config.versions_of(mapping.function_name))
            if any(isinstance(each, LambdaFunction) and each.endpoint_url is None for each in functions):
                services.add(("lambda", region))
    urls: dict[str, None] = {}
    failed: dict[str, Probe] = {}
    for service, region in sorted(services):
        where = aws.endpoint(service, settings=config.aws, environ=environ)
        if where.url is not None:
            urls[where.url] = None
            continue
        try:
            client, connection = await clients.client(service, region)
            urls[connection.endpoint_url or client.meta.endpoint_url] = None
        except Exception as error:  # noqa: BLE001 - no profile, no region: it is a finding about that endpoint
            failed[f"{service} in {region}"] = Probe(error=f"{type(error).__name__}: {error}")
    probes = await asyncio.gather(*map(probe, urls))
    return {**dict(zip(urls, probes, strict=True)), **failed}
