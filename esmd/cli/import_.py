"""`esmd import`: a configuration made of event source mappings that stand elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esmd.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from esmd.config.report import Report
    from esmd.importing.model import Imported


class KeyValue(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two of them."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return key, text


_FILE = click.Path(path_type=Path, dir_okay=False)


def _output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: list[Callable[..., Any]] = [
        click.option("output", "-o", "--output", type=_FILE, metavar="FILE", help="Where to write; by default stdout."),
        click.option("--force", is_flag=True, help="Overwrite FILE."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _template_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: list[Callable[..., Any]] = [
        click.argument("template", metavar="TEMPLATE", type=_FILE),
        click.option(
            "parameters",
            "-p",
            "--parameter",
            type=KeyValue(),
            multiple=True,
            metavar="NAME=VALUE",
            help="A parameter of the template, or a pseudo parameter such as AWS::StackName; may be given several times.",
        ),
        click.option("--region", metavar="REGION", help="AWS::Region, and the region of ARNs.  [default: us-east-1]"),
        click.option(
            "--account", metavar="ID", help="AWS::AccountId, and the account of ARNs.  [default: 000000000000]"
        ),
        _output_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group("import")
def command() -> None:
    """Write a configuration from mappings that stand elsewhere.

    The result passes `esmd lint`. What cannot be known outside a deployment is refused with its place; warnings, on
    stderr, say what was left out. Ends with 78 if something was refused, and with 1 if there is nothing to import;
    nothing is written then.
    """


@command.command("sam")
@_template_options
def sam(**options: Any) -> None:
    """Import a SAM template: the events SQS, Kinesis and DynamoDB of its functions.

    \b
    Examples:
      esmd import sam template.yaml -o esmd.yaml
      esmd import sam .aws-sam/build/template.yaml --parameter Stage=test
    """  # noqa: D301 - click reads the character of \b, not its escape
    _import_template("sam", **options)


@command.command("cloudformation")
@_template_options
def cloudformation(**options: Any) -> None:
    """Import a CloudFormation template: its AWS::Lambda::EventSourceMapping resources.

    YAML or JSON, also what `cdk synth` writes.

    \b
    Examples:
      esmd import cloudformation stack.yaml -o esmd.yaml
      esmd import cloudformation cdk.out/Orders.template.json --region eu-west-1
    """  # noqa: D301 - click reads the character of \b, not its escape
    _import_template("cloudformation", **options)


@command.command("serverless")
@click.argument("file", metavar="SERVERLESS_YML", type=_FILE)
@click.option(
    "parameters",
    "--opt",
    type=KeyValue(),
    multiple=True,
    metavar="NAME=VALUE",
    help="What ${opt:NAME} is, such as stage=test or region=eu-west-1; may be given several times.",
)
@click.option("--account", metavar="ID", help="The account of ARNs.  [default: 000000000000]")
@_output_options
def serverless(
    *, file: Path, parameters: tuple[tuple[str, str], ...], account: str | None, output: Path | None, force: bool
) -> None:
    """Import a serverless.yml: the events sqs and stream of its functions.

    \b
    Examples:
      esmd import serverless serverless.yml -o esmd.yaml
      esmd import serverless serverless.yml --opt stage=test
    """  # noqa: D301 - click reads the character of \b, not its escape
    from esmd.config.report import Report  # noqa: PLC0415
    from esmd.importing.model import Imported  # noqa: PLC0415
    from esmd.importing.serverless import import_serverless  # noqa: PLC0415
    from esmd.importing.template import read_root  # noqa: PLC0415

    _refuse_overwriting(output, force=force)
    report = Report()
    root = read_root(file, report, tags=True)
    imported = Imported()
    if root is not None:
        imported = import_serverless(
            file,
            root,
            options=dict(parameters),
            environ=os.environ,
            folder=output.parent if output else Path(),
            report=report,
            account=account,
        )
    _write(imported, report, made_by=f"esmd import serverless {file}", source=str(file), output=output)


@command.command("lambda")
@click.option("--endpoint-url", metavar="URL", help="Where Lambda is; by default as for every other command.")
@click.option("--region", metavar="REGION", help="By default as for every other command.")
@click.option("--profile", metavar="NAME", help="A profile of the AWS configuration files.")
@_output_options
def lambda_(
    *, endpoint_url: str | None, region: str | None, profile: str | None, output: Path | None, force: bool
) -> None:
    """Import the mappings of a Lambda endpoint. It only reads.

    The functions stay there: each becomes a function of Lambda.

    \b
    Examples:
      esmd import lambda --endpoint-url http://127.0.0.1:4566 -o esmd.yaml
      esmd import lambda --profile staging --region eu-west-1
    """  # noqa: D301 - click reads the character of \b, not its escape
    from esmd.config.report import Report  # noqa: PLC0415

    _refuse_overwriting(output, force=force)
    report = Report()
    settings = {
        name: value
        for name, value in {"endpoint_url": endpoint_url, "region": region, "profile": profile}.items()
        if value
    }
    imported, source = asyncio.run(_live(settings, report))
    imported.aws = settings
    named = "".join(f" --{name.replace('_', '-')} {value}" for name, value in settings.items())
    _write(imported, report, made_by=f"esmd import lambda{named}", source=source, output=output)


async def _live(settings: dict[str, str], report: Report) -> tuple[Imported, str]:
    """What the endpoint has, and what to call it."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    from esmd.assembly import make_clients  # noqa: PLC0415
    from esmd.config.schema import AwsSettings  # noqa: PLC0415
    from esmd.importing.live import import_live  # noqa: PLC0415
    from esmd.importing.model import Refused  # noqa: PLC0415
    from esmd.pollers.errors import classify  # noqa: PLC0415

    try:
        aws = AwsSettings.model_validate(settings)
    except ValidationError as error:
        raise click.UsageError(
            f"--{str(error.errors()[0]['loc'][0]).replace('_', '-')}: {error.errors()[0]['msg']}"
        ) from error
    source = settings.get("endpoint_url", "Lambda")
    async with make_clients(aws, os.environ) as clients:
        try:
            client, connection = await clients.client("lambda", settings.get("region"))
            source = connection.endpoint_url or client.meta.endpoint_url
            return await import_live(client, source=Path(urlsplit(source).netloc or source), report=report), source
        except Refused as refused:
            report.error(refused.place, refused.message, hint=refused.hint)
        except (BotoCoreError, ClientError, OSError) as error:
            failure = classify(error)
            click.echo(f"{source}: {failure.code}: {failure.message}", err=True)
            raise SystemExit(Exit.UNAVAILABLE) from error
    return _nothing(), source


def _nothing() -> Imported:
    from esmd.importing.model import Imported  # noqa: PLC0415

    return Imported()


def _import_template(
    kind: str,
    *,
    template: Path,
    parameters: tuple[tuple[str, str], ...],
    region: str | None,
    account: str | None,
    output: Path | None,
    force: bool,
) -> None:
    from esmd.config.report import Report  # noqa: PLC0415
    from esmd.importing.model import Imported  # noqa: PLC0415
    from esmd.importing.sam import import_template  # noqa: PLC0415
    from esmd.importing.template import read_template  # noqa: PLC0415

    _refuse_overwriting(output, force=force)
    report = Report()
    read = read_template(template, report)
    imported = Imported()
    if read is not None:
        imported = import_template(
            read,
            given=dict(parameters),
            folder=output.parent if output else Path(),
            report=report,
            pseudo=_pseudo(region, account),
        )
    _write(imported, report, made_by=f"esmd import {kind} {template}", source=str(template), output=output)


def _pseudo(region: str | None, account: str | None) -> dict[str, str]:
    given = {"AWS::Region": region, "AWS::AccountId": account}
    return {name: value for name, value in given.items() if value}


def _refuse_overwriting(output: Path | None, *, force: bool) -> None:
    if output is not None and output.exists() and not force:
        raise click.ClickException(f"{output} exists; --force overwrites it")


def _write(imported: Imported, report: Report, *, made_by: str, source: str, output: Path | None) -> None:
    """Write the configuration, or say why there is none and end."""
    from esmd.importing.output import check, render  # noqa: PLC0415

    text = ""
    if not report.failed and imported.mappings:
        text = render(imported, made_by=made_by)
        check(text, imported, report)
    for diagnostic in report.ordered():
        click.echo(str(diagnostic), err=True)
    if report.failed:
        raise SystemExit(Exit.CONFIG)
    if not imported.mappings:
        click.echo(f"{source}: no event source mapping of SQS, Kinesis or DynamoDB in it", err=True)
        raise SystemExit(Exit.FAILED)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    functions = len(imported.used_functions())
    click.echo(f"{output}: {_count(len(imported.mappings), 'mapping')}, {_count(functions, 'function')}", err=True)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
