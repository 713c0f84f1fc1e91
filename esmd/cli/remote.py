"""Refuses functions that lead to somebody's production, unless that is allowed.

| form of the function              | refused where this is not local                                            |
|-----------------------------------|----------------------------------------------------------------------------|
| a function of Lambda              | the endpoint of Lambda, or its own                                         |
| with `credentials: inherit`       | the endpoint that its AWS clients are told                                 |
| any other                         | never: it has no keys, names its place (`url`), or is part of this process |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from esmd.cli.exits import Exit
from esmd.config import aws
from esmd.config.schema import LambdaFunction, ProcessFunction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esmd.config.schema import Config
    from esmd.pollers.localstack import LocalStackClients


class RemoteRefused(click.ClickException):
    """The configuration leads where it may not."""

    exit_code = Exit.CONFIG


async def refuse_remote_functions(
    config: Config, names: Iterable[str], clients: LocalStackClients, *, environ: Mapping[str, str]
) -> None:
    """Ask before `--allow-remote` or `aws.allow_remote` is given, not after.

    Args:
        config: validated.
        names: functions that are about to be invoked; those that they route to are looked at too.
        clients: asked where a service is, if only a profile says so.
        environ: the environment that decides on endpoints.

    Raises:
        RemoteRefused: with what to do about it.
    """
    for name in sorted({version for each in names for version in config.versions_of(each)}):
        settings = config.functions[name]
        if isinstance(settings, LambdaFunction):
            url = settings.endpoint_url or await _endpoint("lambda", config, clients, environ)
        elif isinstance(settings, ProcessFunction) and settings.credentials == "inherit":
            url = await _endpoint("sqs", config, clients, environ)
        else:
            continue
        if (text := aws.remote_refusal(url)) is not None:
            raise RemoteRefused(f"the function {name}: {text}")


async def _endpoint(service: str, config: Config, clients: LocalStackClients, environ: Mapping[str, str]) -> str | None:
    """Where a service is in the end: None for AWS itself."""
    where = aws.endpoint(service, settings=config.aws, environ=environ)
    if where.url is not None:
        return where.url
    region = aws.region(where, settings=config.aws, environ=environ) or aws.DEFAULT_REGION
    return await endpoint_found(service, region, clients)


async def endpoint_found(service: str, region: str, clients: LocalStackClients) -> str | None:
    """Where a service is called, also if only a profile says so; None for AWS itself.

    Raises:
        RemoteRefused: nobody can tell.
    """
    if (found := clients.plain(service, region)) is not None:
        return found.endpoint_url
    try:
        client, connection = await clients.client(service, region)
    except Exception as error:
        raise RemoteRefused(f"cannot make a client of {service} for {region}: {error}") from error
    if connection.endpoint_url:
        return connection.endpoint_url
    # Without an endpoint of ours, a profile may still name one: ask what botocore made of it.
    url: str = client.meta.endpoint_url
    return None if ".amazonaws.com" in url or ".api.aws" in url else url
