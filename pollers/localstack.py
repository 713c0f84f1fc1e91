"""The asyncio LocalStack client: one session, one client per service, fit for long polls.

A thin factory on aiobotocore. Where it connects to, in which region and with which keys has been decided before, by
`esmd.config.aws`; this module only makes clients, shares them and closes them. aiobotocore is loaded with the first one:
`LocalStackClients.plain` tells what can be told without it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

from esmd.pollers.plain import plain
from esmd.pollers.sigv4 import Keys

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aiobotocore.session import AioSession

    from esmd.pollers.plain import Plain

MAX_POLL_SECONDS = 20
"""SQS's longest long poll."""

MAX_INVOCATION_SECONDS = 900
"""Lambda's longest invocation, and longest silence before an answer [specification F.1]."""

_DUMMY = Keys("test", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where and as whom to call one service.

    Attributes:
        endpoint_url: None lets botocore find AWS's own endpoint.
        region: None leaves it to the profile.
        dummy_credentials: use `test`/`test` and look for no others.
    """

    endpoint_url: str | None
    region: str | None
    dummy_credentials: bool


class Connect(Protocol):
    """Decides the `Connection` of a service (`sqs`, `kinesis`, ...) in a region, at an endpoint of its own if one is given."""

    def __call__(self, service: str, region: str | None, endpoint_url: str | None = None, /) -> Connection:
        """Decide."""
        ...


class LocalStackClients:
    """Makes and shares clients: one per service, region and endpoint. An async context manager.

    Args:
        connect: where and as whom to call a service.
        profile: AWS profile to use, None for the environment's.
        pool: most connections per client; at least the number of long polls at once, and some for deletes. A client of
            Lambda has no limit: its functions have theirs, and what waited for a connection would be late.
    """

    def __init__(self, connect: Connect, *, profile: str | None, pool: int) -> None:
        self._connect = connect
        self._profile = profile
        self._pool = pool
        self._session: AioSession | None = None
        self._raw_session: AioSession | None = None
        self._clients: dict[tuple[str, Connection, bool], Any] = {}
        self._plain: dict[tuple[str, Connection], Plain | None] = {}
        self._making = asyncio.Lock()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.clear()
        await self._open.aclose()

    async def client(
        self, service: str, region: str | None, *, raw: bool = False, endpoint_url: str | None = None
    ) -> tuple[Any, Connection]:
        """The shared client of `service` in `region`, and what it connects to.

        With `endpoint_url` it connects to that, whatever the settings say.

        A `raw` client hands blobs over as the base64 text and times as the numbers that came, and sends parameters
        unchecked: for streams, whose events need both as they are, and whose emulators bend the API's lengths.

        Raises:
            botocore.exceptions.BotoCoreError: no such profile, no region, no usable endpoint.
        """
        connection = self._connect(service, region, *(() if endpoint_url is None else (endpoint_url,)))
        key = (service, connection, raw)
        async with self._making:  # mappings that start together share one client all the same
            if key not in self._clients:
                self._clients[key] = await self._make(service, connection, raw=raw)
        return self._clients[key], connection

    def plain(self, service: str, region: str | None) -> Plain | None:
        """How `service` is called in `region`, if that is so plain that botocore need not be asked; see `esmd.pollers.plain`.

        A client made by `client` connects to the same, with the same keys. The answer stays what it was at first.
        """
        connection = self._connect(service, region)
        key = (service, connection)
        if key not in self._plain:
            self._plain[key] = (
                None
                if self._profile
                else plain(
                    service,
                    endpoint_url=connection.endpoint_url,
                    region=connection.region,
                    dummy=_DUMMY if connection.dummy_credentials else None,
                    environ=os.environ,
                )
            )
        return self._plain[key]

    def close_first(self, others: AbstractAsyncContextManager[Any]) -> None:
        """Leave `others`, which use these clients, before these are closed."""
        self._open.push_async_exit(others)

    def ca_bundle(self) -> str | None:
        """The file or folder of the only authorities that the clients trust; None for the usual ones.

        As botocore finds it: `AWS_CA_BUNDLE`, the profile, `REQUESTS_CA_BUNDLE`. Known once there is a client.
        """
        told = None if self._session is None else self._session.get_config_variable("ca_bundle")
        return told or os.environ.get("REQUESTS_CA_BUNDLE") or None

    def _session_for_raw(self, session: AioSession) -> AioSession:
        """A session of its own, since a parser's defaults belong to a session.

        Credentials stay with the first session: the clients that fetch them need times parsed.
        """
        from aiobotocore.session import AioSession  # noqa: PLC0415 - as in `_make`

        if self._raw_session is None:
            self._raw_session = AioSession(profile=self._profile)
            self._raw_session.get_component("response_parser_factory").set_parser_defaults(
                timestamp_parser=_as_it_came, blob_parser=_as_it_came
            )
            self._raw_session.register_component("credential_provider", session.get_component("credential_provider"))
        return self._raw_session

    async def _make(self, service: str, connection: Connection, *, raw: bool) -> Any:
        # Imported late: aiobotocore takes a third of a second, and `lint` or `--help` do not need it.
        from aiobotocore.config import AioConfig  # noqa: PLC0415
        from aiobotocore.session import AioSession  # noqa: PLC0415

        if self._session is None:
            self._session = AioSession(profile=self._profile)
        keys = (
            {"aws_access_key_id": _DUMMY.access_key, "aws_secret_access_key": _DUMMY.secret_key}
            if connection.dummy_credentials
            else {}
        )
        session = self._session_for_raw(self._session) if raw else self._session
        is_lambda = service == "lambda"
        create: Any = session.create_client  # overloaded per service name; `service` is any of them
        return await self._open.enter_async_context(
            create(
                service,
                region_name=connection.region,
                endpoint_url=connection.endpoint_url,
                config=AioConfig(
                    max_pool_connections=0 if is_lambda else self._pool,
                    connect_timeout=5,
                    read_timeout=(MAX_INVOCATION_SECONDS if is_lambda else MAX_POLL_SECONDS) + 10,
                    # The loops own retries: a retry in here would hide a long poll's second life from them.
                    retries={"mode": "standard", "total_max_attempts": 1},
                    tcp_keepalive=True,
                    parameter_validation=not raw,
                    user_agent="esmd",
                ),
                **keys,
            )
        )


def _as_it_came(value: Any) -> Any:
    return value


def reachable_url(queue_url: str, endpoint_url: str | None) -> str:
    """A queue URL with the scheme and host of the configured endpoint.

    Emulators answer with a host of their own (a public DNS name, a container's name) that need not resolve here; only
    the path names the queue. On AWS (`endpoint_url` None) the URL stays as it is.
    """
    if endpoint_url is None:
        return queue_url
    endpoint = urlsplit(endpoint_url)
    queue = urlsplit(queue_url)
    return urlunsplit((endpoint.scheme, endpoint.netloc, queue.path, queue.query, ""))
