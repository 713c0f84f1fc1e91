"""Servers for tests, and a small way to talk to them."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from esmd.testing.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from types_aiobotocore_sqs import SQSClient

PROJECT = Path(__file__).resolve().parents[2]
LOCALSTACK_PYTHON = PROJECT / ".localstack" / "venv" / "bin" / "python"
LOCALSTACK_LAMBDA = PROJECT / ".localstack" / "venv" / ".plugin"  # says that our plugin is there
LOCALSTACK_KINESIS = PROJECT / ".localstack" / "lib" / "kinesis-local"
LOOPBACK = PROJECT / "tests" / "servers" / "loopback.js"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue made for one test."""

    name: str
    url: str
    arn: str


def localstack_process() -> ServerProcess:
    """Return real LocalStack in host mode, not started.

    SQS is fit for use, Lambda with Python functions as processes, and Kinesis where it was installed. Nothing is there
    for DynamoDB: LocalStack would fetch it.
    """

    def environment(port: int, folder: Path) -> Mapping[str, str | None]:
        address = f"127.0.0.1:{port}"
        inherited = dict.fromkeys(name for name in os.environ if name.startswith("LOCALSTACK_"))
        libraries = folder / "var" / "lib" / "localstack" / "lib"
        libraries.mkdir(parents=True)
        if LOCALSTACK_KINESIS.exists():
            (libraries / LOCALSTACK_KINESIS.name).symlink_to(LOCALSTACK_KINESIS)
        return {
            **inherited,
            "PYTHONDONTWRITEBYTECODE": "",  # it is not compiled when it is installed: it uses a quarter of that
            "PATH": f"{LOCALSTACK_PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder),  # where it leaves the code of functions
            "LAMBDA_RUNTIME_EXECUTOR": "processes",  # our plugin, see tests/servers/localstack_processes
            "OVERRIDE_IN_DOCKER": "0",  # else a /.dockerenv makes it write to /var/lib/localstack
            "FILESYSTEM_ROOT": str(folder),
            "GATEWAY_LISTEN": address,
            "GATEWAY_SERVER": "hypercorn",  # the default server would listen on every interface
            "LOCALSTACK_HOST": address,
            "SQS_ENDPOINT_STRATEGY": "path",  # queue URLs without a DNS name
            "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
            "DNS_ADDRESS": "0",  # no name server of its own
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "LS_LOG": "warning",
            "KINESIS_LATENCY": "50",  # milliseconds until a stream or a split is done
            "KINESIS_MOCK_LOG_LEVEL": "ERROR",
            "NODE_OPTIONS": f"--require={LOOPBACK}",  # its Kinesis would listen on every interface
        }

    return ServerProcess(
        "LocalStack",
        [str(LOCALSTACK_PYTHON), "-m", "localstack.runtime.main"],
        environment=environment,
        health_path="/_localstack/health",
        start_seconds=120.0,
    )


def touch_sqs(endpoint_url: str) -> None:
    """Make a server load its SQS, see `touch`."""
    touch(endpoint_url, "sqs", "AmazonSQS.ListQueues")


def touch(endpoint_url: str, service: str, target: str, *, seconds: float = 60.0) -> None:
    """Make a server load a service, which LocalStack does at the first call, taking seconds."""
    request = urllib.request.Request(  # noqa: S310 - our own server's URL
        endpoint_url,
        data=b"{}",
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=seconds) as answer:
        answer.read()


@contextlib.asynccontextmanager
async def sqs_client(endpoint_url: str, **config: Any) -> AsyncIterator[SQSClient]:
    """Yield a client with dummy keys that fails at the first error; `config` as in botocore's `Config`."""
    options = {"max_pool_connections": 100, "retries": {"total_max_attempts": 1}} | config
    async with get_session().create_client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=AioConfig(**options),
    ) as client:
        yield client


async def make_queue(
    client: SQSClient,
    prefix: str = "q",
    *,
    fifo: bool = False,
    dead_letters: Queue | None = None,
    max_receives: int = 2,
    **attributes: object,
) -> Queue:
    """Make a queue under a name of its own.

    Args:
        prefix: what the name begins with.
        fifo: whether it is a FIFO queue.
        dead_letters: its dead-letter queue, for messages received `max_receives` times.
        attributes: for example `VisibilityTimeout=1`.
    """
    given = {name: str(value) for name, value in attributes.items()}
    if fifo:
        given["FifoQueue"] = "true"
    if dead_letters:
        given["RedrivePolicy"] = json.dumps(
            {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": str(max_receives)}
        )
    name = f"{prefix}-{uuid.uuid4().hex[:12]}{'.fifo' if fifo else ''}"
    created = await client.create_queue(QueueName=name, Attributes=given)  # type: ignore[arg-type] - any attribute
    url = created["QueueUrl"]
    described = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return Queue(name, url, described["Attributes"]["QueueArn"])
