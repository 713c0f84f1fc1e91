"""The clients that people use on the API: boto3, and the real aws-cli."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

AWS = Path(__file__).resolve().parents[2] / ".aws-cli" / "bin" / "aws"
NO_AWS = "the aws-cli is not installed here: sh tests/servers/install_aws_cli.sh"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-west-1"}


@contextmanager
def lambda_client(url: str) -> Iterator[Any]:
    """boto3's client of Lambda, which tries everything once."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    client = session.client("lambda", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
    try:
        yield client
    finally:
        client.close()


class AwsCliError(AssertionError):
    """The aws-cli ended with an error; the text is what it wrote."""


async def aws(url: str, *arguments: str) -> Any:
    """What `aws lambda ARGUMENTS` prints, as JSON; None where it prints nothing."""
    if not AWS.exists():
        pytest.skip(NO_AWS)
    process = await asyncio.create_subprocess_exec(
        str(AWS),
        "lambda",
        *arguments,
        "--endpoint-url",
        url,
        "--output",
        "json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "AWS_MAX_ATTEMPTS": "1", **KEYS},
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise AwsCliError(errors.decode())
    return json.loads(output) if output.strip() else None
