"""Puts a daemon together from a configuration: clients, functions, mappings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esmd.config import aws
from esmd.config.schema import StreamMapping
from esmd.control.mapping_set import MappingSet
from esmd.control.results import LastResults
from esmd.control.slots import Slots
from esmd.control.workshop import Refused
from esmd.daemon import About, Daemon, DaemonOptions
from esmd.destinations.factory import make_destination
from esmd.functions import Functions
from esmd.mappings.filters import RecordFilter, compile_filters
from esmd.observe.daemon_events import ClientFellBack
from esmd.pollers.client_choice import ClientChoice
from esmd.pollers.localstack import MAX_POLL_SECONDS, Connection, LocalStackClients
from esmd.pollers.wire_clients import WireClients
from esmd.pollers.wire_sqs import WireSqs
from esmd.sqs.build import sqs_settings
from esmd.sqs.runner import SqsRunner
from esmd.streams.build import stream_api, stream_settings
from esmd.streams.runner import StreamRunner
from esmd.streams.settings import Surroundings
from esmd.supervisor import Runner, Supervisor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from esmd.config.loader import Loaded
    from esmd.config.schema import (
        AnyMapping,
        AwsSettings,
        Config,
        EventSourceMapping,
        SqsMapping,
    )
    from esmd.function import Function
    from esmd.observe.statistics import Statistics
    from esmd.observe.telemetry import Telemetry
    from esmd.pollers.client_choice import FallBack
    from esmd.shutdown import Shutdown
    from esmd.state.protocol import StateStore
    from esmd.state.registry import Registry
    from esmd.streams.bookreader import BookReader
    from esmd.trouble import Trouble

_LOCAL_POLL_SECONDS = 5
"""Longest long poll on a local endpoint: a stop has to wait for the poll under way, and polls cost nothing there."""

_POOL = 512
"""Most connections per client: long polls hold theirs, deletes must not queue behind them."""

SERVICES = {"sqs": "sqs", "kinesis": "kinesis", "dynamodb": "dynamodbstreams"}
"""Boto's client name of each kind of source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the command line says beyond the configuration; times in seconds.

    Attributes:
        only: names of the mappings to run; empty for all that are enabled.
        longest_poll: overrides how long a receive waits where the mapping does not say; None chooses by endpoint.
        log_payloads: say the event of every invocation.
    """

    daemon: DaemonOptions
    only: frozenset[str]
    longest_poll: int | None
    log_payloads: bool

    def chosen(self, config: Config) -> list[AnyMapping]:
        """The mappings that are to run, disabled ones included."""
        return [mapping for name, mapping in config.mappings.items() if not self.only or name in self.only]


def connect(
    service: str,
    region: str | None,
    endpoint_url: str | None = None,
    *,
    settings: AwsSettings,
    environ: Mapping[str, str],
) -> Connection:
    """Where and as whom to call a service; at an endpoint of its own, if it has one."""
    if endpoint_url is not None:
        settings = settings.model_copy(update={"endpoint_url": endpoint_url})
    where = aws.endpoint(service, settings=settings, environ=environ)
    return Connection(
        endpoint_url=where.url,
        region=region or aws.region(where, settings=settings, environ=environ),
        dummy_credentials=aws.credentials(where, settings=settings, environ=environ).kind == "dummy",
    )


def make_clients(settings: AwsSettings, environ: Mapping[str, str]) -> LocalStackClients:
    """The clients that everything shares."""
    return LocalStackClients(partial(connect, settings=settings, environ=environ), profile=settings.profile, pool=_POOL)


def about(config: Config, environ: Mapping[str, str]) -> About:
    """What a daemon says of its configuration when it starts."""
    where = aws.endpoint("sqs", settings=config.aws, environ=environ)
    region = aws.region(where, settings=config.aws, environ=environ)
    return About(files=tuple(map(str, config.files)), endpoint=where.url or "AWS", region=region)


class Assembly:
    """Builds the parts of one daemon. Make it inside the running loop.

    Args:
        config: validated.
        options: of the command line.
        clients: shared by everything.
        environ: the environment that decides on endpoints.
        store: where stream mappings keep their progress; None if there are none.
        telemetry: where events go.
        statistics: what counts them.
        shutdown: the process's wish to stop.
        book_of: gives the book that several processes share for a stream mapping; None where this one reads all shards.
    """

    def __init__(
        self,
        config: Config,
        *,
        options: RunOptions,
        clients: LocalStackClients,
        environ: Mapping[str, str],
        store: StateStore | None,
        telemetry: Telemetry,
        statistics: Statistics,
        shutdown: Shutdown,
        book_of: Callable[[str], BookReader] | None = None,
    ) -> None:
        self._config = config
        self._options = options
        self._clients = clients
        self._environ = environ
        self._store = store
        self._telemetry = telemetry
        self._statistics = statistics
        self._slots = Slots(telemetry=telemetry, shutdown=shutdown)
        self._shutdown = shutdown
        self._book_of = book_of
        self._functions = Functions(config, clients=clients, environ=environ, telemetry=telemetry)
        choice = ClientChoice(config.aws.client, say=self._say_fall_back)
        self._wires = WireClients(choice, plain=clients.plain, ca_bundle=clients.ca_bundle)
        clients.close_first(self._wires)

    @property
    def functions(self) -> Mapping[str, Function]:
        """Those that have been made so far."""
        return self._functions.made

    def daemon(self, mappings: MappingSet) -> Daemon:
        """The daemon, nothing started yet."""
        return Daemon(
            slots=self._slots,
            close=mappings.close,
            functions=self._functions.made,
            about=about(self._config, self._environ),
            options=self._options.daemon,
            telemetry=self._telemetry,
            statistics=self._statistics,
            shutdown=self._shutdown,
        )

    def mappings(
        self,
        *,
        registry: Registry | None = None,
        results: LastResults | None = None,
        read: Callable[[], Awaitable[Loaded]] | None = None,
        permit: Callable[[Config], Awaitable[None]] | None = None,
    ) -> MappingSet:
        """The mappings; see `MappingSet`."""
        return MappingSet(
            self._config,
            only=self._options.only,
            workshop=self,
            slots=self._slots,
            registry=registry,
            results=results or LastResults(),
            telemetry=self._telemetry,
            read=read,
            permit=permit,
        )

    def function(self, name: str) -> Function:
        """See `Workshop.function`."""
        return self._functions.get(name)

    def arn_of(self, function: str) -> str:
        """See `Workshop.arn_of`."""
        return self._functions.arn_of(function)

    def take(self, config: Config, stale: Collection[str]) -> Sequence[Function]:
        """See `Workshop.take`."""
        self._config = config
        return self._functions.take(config, stale)

    def _where(self, service: str) -> aws.Endpoint:
        return aws.endpoint(service, settings=self._config.aws, environ=self._environ)

    def _say_fall_back(self, what: FallBack) -> None:
        self._telemetry.emit(
            ClientFellBack(service=what.service, endpoint=what.endpoint, cause=what.cause, reason=what.reason)
        )

    # --- mappings

    def supervisor(self, mapping: AnyMapping, stop: asyncio.Event, *, refusal: str | None = None) -> Supervisor:
        """See `Workshop.supervisor`."""
        function = None if refusal is not None else self._functions.get(mapping.function_name)

        def make_runner(trouble: Trouble) -> Runner:
            if function is None:
                raise RuntimeError("a mapping that was refused has nothing to run")
            if isinstance(mapping, StreamMapping):
                return self._stream_runner(mapping, function, trouble, stop)
            return self._sqs_runner(mapping, function, trouble, stop)

        return Supervisor(
            mapping.name,
            function=function or Refused("Refused", refusal or ""),
            make_runner=make_runner,
            telemetry=self._telemetry,
            stop=stop,
            is_stream=isinstance(mapping, StreamMapping),
        )

    def _sqs_runner(self, mapping: SqsMapping, function: Function, trouble: Trouble, stop: asyncio.Event) -> Runner:
        queue = mapping.queue
        local = self._where("sqs").is_local
        return SqsRunner(
            sqs_settings(
                mapping,
                function_timeout=self._config.longest_invocation(mapping.function_name),
                function_limit=function.limit,
                longest_poll=self._options.longest_poll or (_LOCAL_POLL_SECONDS if local else MAX_POLL_SECONDS),
                log_payloads=self._options.log_payloads,
            ),
            api=WireSqs(
                self._clients,
                self._wires,
                region=queue.region,
                account_id=queue.account_id,
                queue_name=queue.name,
            ),
            function=function,
            record_filter=_filter(mapping),
            telemetry=self._telemetry,
            trouble=trouble,
            stop=stop,
        )

    def _stream_runner(
        self, mapping: StreamMapping, function: Function, trouble: Trouble, stop: asyncio.Event
    ) -> Runner:
        if self._store is None:
            raise RuntimeError("a stream mapping needs a state store")
        target = mapping.on_failure
        region = mapping.stream.region
        return StreamRunner(
            Surroundings(
                settings=stream_settings(
                    mapping,
                    function_arn=function.arn,
                    is_local=self._where(SERVICES[mapping.source]).is_local,
                    log_payloads=self._options.log_payloads,
                ),
                api=stream_api(mapping, self._clients, self._wires),
                function=function,
                record_filter=_filter(mapping),
                destination=None if target is None else make_destination(target, self._clients, region=region),
                store=self._store,
                telemetry=self._telemetry,
                trouble=trouble,
                stop=stop,
                book=None if self._book_of is None else self._book_of(mapping.name),
            )
        )


def _filter(mapping: EventSourceMapping) -> RecordFilter | None:
    compiled = compile_filters(mapping.filter_criteria.patterns, source=mapping.source)
    return None if compiled.is_empty else compiled
