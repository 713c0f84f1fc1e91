"""Servers with streams for tests, and clients that make streams on them."""

from __future__ import annotations

import contextlib
import shutil
import socket
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from esmd.pollers.localstack import Connection, LocalStackClients
from esmd.testing.server_process import ServerProcess

from support.servers import LOCALSTACK_KINESIS, LOOPBACK, PROJECT, touch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

KINESIS_LOCAL = PROJECT / ".kinesis-local" / "node_modules" / "kinesis-local" / "main.js"
REGION = "us-east-1"
SESSION = get_session()  # one for all tests: it keeps the services' models, which take long to read


@cache
def raw_session() -> Any:
    """As `SESSION`, for clients that leave what they read as it is."""
    clients = LocalStackClients(lambda *_: None, profile=None, pool=5)  # type: ignore[arg-type,return-value]
    return clients._session_for_raw(SESSION)


def kinesis_local_process() -> ServerProcess:
    """Return kinesis-local, not started."""

    def environment(port: int, folder: Path) -> Mapping[str, str | None]:
        with socket.socket() as probe:  # a second port that it cannot do without
            probe.bind(("127.0.0.1", 0))
            tls_port = probe.getsockname()[1]
        waits = ("CREATE_STREAM", "DELETE_STREAM", "MERGE_SHARDS", "SPLIT_SHARD", "UPDATE_SHARD_COUNT")
        return {
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(tls_port),
            "KINESIS_MOCK_CERT_PATH": str(KINESIS_LOCAL.with_name("server.json")),
            "LOG_LEVEL": "ERROR",
            "SHARD_LIMIT": "2000",
            "NODE_OPTIONS": None,
            **{f"{name}_DURATION": "50ms" for name in waits},
        }

    return ServerProcess(
        "kinesis-local",
        [shutil.which("node") or "node", "--require", str(LOOPBACK), str(KINESIS_LOCAL)],
        environment=environment,
        health_path="/healthcheck",
    )


@pytest.fixture(scope="session")
def kinesis_local() -> Iterator[str]:
    """The URL of kinesis-local: a Kinesis with resharding, nothing else."""
    if not KINESIS_LOCAL.exists() or shutil.which("node") is None:
        pytest.skip("kinesis-local is not installed here: tests/servers/install_kinesis_local.sh (needs npm)")
    process = kinesis_local_process()
    process.start()
    try:
        yield process.endpoint_url
    finally:
        process.stop()


@pytest.fixture(scope="session")
def localstack_kinesis(localstack: str) -> str:
    """The URL of real LocalStack, its Kinesis running."""
    if not LOCALSTACK_KINESIS.exists() or shutil.which("node") is None:
        pytest.skip("LocalStack's Kinesis is not installed here: make localstack (needs npm)")
    touch(localstack, "kinesis", "Kinesis_20131202.ListStreams")
    return localstack


def clients_for(endpoint_url: str) -> LocalStackClients:
    """The daemon's own clients, on this endpoint for every service."""

    def connect(_service: str, region: str | None) -> Connection:
        return Connection(endpoint_url=endpoint_url, region=region, dummy_credentials=True)

    return LocalStackClients(connect, profile=None, pool=20)


@contextlib.asynccontextmanager
async def service_client(service: str, endpoint_url: str) -> AsyncIterator[Any]:
    """Yield a client with dummy keys, for what only tests do."""
    create: Any = SESSION.create_client
    async with create(
        service,
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=AioConfig(retries={"total_max_attempts": 1}),
    ) as client:
        yield client
