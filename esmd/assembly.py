"""Puts a daemon together from a configuration: clients, functions, mappings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esmd.config import aws
from esmd.config.schema import StreamMapping
from esmd.daemon import About, Daemon, DaemonOptions
from esmd.destinations.factory import make_destination
from esmd.function import Function
from esmd.invoke.factory import make_invoker
from esmd.invoke.protocol import FunctionSpec
from esmd.mappings.filters import RecordFilter, compile_filters
from esmd.pollers.localstack import MAX_POLL_SECONDS, Connection, LocalStackClients
from esmd.pollers.sqs import BotoSqs
from esmd.sqs.build import sqs_settings
from esmd.sqs.runner import SqsRunner
from esmd.streams.build import stream_api, stream_settings
from esmd.streams.runner import StreamRunner
from esmd.streams.settings import Surroundings
from esmd.supervisor import Runner, Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import (
        AnyMapping,
        AwsSettings,
        Config,
        EventSourceMapping,
        FunctionSettings,
        SqsMapping,
    )
    from esmd.observe.statistics import Statistics
    from esmd.observe.telemetry import Telemetry
    from esmd.shutdown import Shutdown
    from esmd.state.protocol import StateStore
    from esmd.trouble import Trouble

UNRESERVED_CONCURRENCY = {"worker": 64, "inline": 1000}
"""Most invocations at once of a function without `reserved_concurrency`: a worker is a process, an inline call is not.
1,000 is what an AWS account has by default."""

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


def place_of(mapping: AnyMapping) -> tuple[str, str]:
    """Region and account of a mapping's source."""
    source = mapping.stream if isinstance(mapping, StreamMapping) else mapping.queue
    return source.region, source.account_id


def connect(service: str, region: str | None, *, settings: AwsSettings, environ: Mapping[str, str]) -> Connection:
    """Where and as whom to call a service."""
    where = aws.endpoint(service, settings=settings, environ=environ)
    return Connection(
        endpoint_url=where.url,
        region=region or aws.region(where, settings=settings, environ=environ),
        dummy_credentials=aws.credentials(where, settings=settings, environ=environ).kind == "dummy",
    )


def make_clients(settings: AwsSettings, environ: Mapping[str, str]) -> LocalStackClients:
    """The clients that everything shares."""
    return LocalStackClients(partial(connect, settings=settings, environ=environ), profile=settings.profile, pool=_POOL)


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
    ) -> None:
        self._config = config
        self._options = options
        self._clients = clients
        self._environ = environ
        self._store = store
        self._telemetry = telemetry
        self._statistics = statistics
        self._shutdown = shutdown

    def daemon(self) -> Daemon:
        """The daemon, nothing started yet."""
        chosen = self._options.chosen(self._config)
        enabled = [mapping for mapping in chosen if mapping.enabled]
        functions = {
            name: self._function(name, self._config.functions[name])
            for name in sorted({mapping.function_name for mapping in enabled})
        }
        where = self._where("sqs")
        return Daemon(
            supervisors=[self._supervisor(mapping, functions[mapping.function_name]) for mapping in enabled],
            disabled=[mapping.name for mapping in chosen if not mapping.enabled],
            functions=functions,
            about=About(
                files=tuple(map(str, self._config.files)),
                endpoint=where.url or "AWS",
                region=aws.region(where, settings=self._config.aws, environ=self._environ),
            ),
            options=self._options.daemon,
            telemetry=self._telemetry,
            statistics=self._statistics,
            shutdown=self._shutdown,
        )

    def _where(self, service: str) -> aws.Endpoint:
        return aws.endpoint(service, settings=self._config.aws, environ=self._environ)

    # --- functions

    def _function(self, name: str, settings: FunctionSettings) -> Function:
        spec = self._spec(name, settings)
        return Function(name, make_invoker(spec, isolation=settings.isolation, telemetry=self._telemetry))

    def _spec(self, name: str, settings: FunctionSettings) -> FunctionSpec:
        region, account_id = next(place_of(m) for m in self._config.mappings.values() if m.function_name == name)
        limit = settings.reserved_concurrency
        return FunctionSpec(
            name=name,
            handler=settings.handler,
            timeout=settings.timeout,
            concurrency=UNRESERVED_CONCURRENCY[settings.isolation] if limit is None else limit,
            environment=settings.environment,
            python_path=tuple(map(str, settings.python_path)),
            working_directory=str(settings.directory),
            region=region,
            account_id=account_id,
            aws_environment=self._aws_environment(),
        )

    def _aws_environment(self) -> dict[str, str]:
        """What a handler's own AWS clients need to reach the same local endpoint. Real keys are never handed on."""
        where = self._where("sqs")
        if where.url is None:
            return {}
        given = {"AWS_ENDPOINT_URL": where.url}
        if aws.credentials(where, settings=self._config.aws, environ=self._environ).kind == "dummy":
            given |= {"AWS_ACCESS_KEY_ID": aws.DUMMY_KEY, "AWS_SECRET_ACCESS_KEY": aws.DUMMY_KEY}
        return given

    # --- mappings

    def _supervisor(self, mapping: AnyMapping, function: Function) -> Supervisor:
        def make_runner(trouble: Trouble) -> Runner:
            if isinstance(mapping, StreamMapping):
                return self._stream_runner(mapping, function, trouble)
            return self._sqs_runner(mapping, function, trouble)

        return Supervisor(
            mapping.name,
            function=function,
            make_runner=make_runner,
            telemetry=self._telemetry,
            stop=self._shutdown.drain,
            is_stream=isinstance(mapping, StreamMapping),
        )

    def _sqs_runner(self, mapping: SqsMapping, function: Function, trouble: Trouble) -> Runner:
        queue = mapping.queue
        local = self._where("sqs").is_local
        return SqsRunner(
            sqs_settings(
                mapping,
                function_timeout=self._config.functions[mapping.function_name].timeout,
                function_limit=function.limit,
                longest_poll=self._options.longest_poll or (_LOCAL_POLL_SECONDS if local else MAX_POLL_SECONDS),
                log_payloads=self._options.log_payloads,
            ),
            api=BotoSqs(self._clients, region=queue.region, account_id=queue.account_id, queue_name=queue.name),
            function=function,
            record_filter=_filter(mapping),
            telemetry=self._telemetry,
            trouble=trouble,
            stop=self._shutdown.drain,
        )

    def _stream_runner(self, mapping: StreamMapping, function: Function, trouble: Trouble) -> Runner:
        if self._store is None:
            raise RuntimeError("a stream mapping needs a state store")
        spec = self._spec(mapping.function_name, self._config.functions[mapping.function_name])
        target = mapping.on_failure
        region = mapping.stream.region
        return StreamRunner(
            Surroundings(
                settings=stream_settings(
                    mapping,
                    function_arn=spec.arn,
                    is_local=self._where(SERVICES[mapping.source]).is_local,
                    log_payloads=self._options.log_payloads,
                ),
                api=stream_api(mapping, self._clients),
                function=function,
                record_filter=_filter(mapping),
                destination=None if target is None else make_destination(target, self._clients, region=region),
                store=self._store,
                telemetry=self._telemetry,
                trouble=trouble,
                stop=self._shutdown.drain,
            )
        )


def _filter(mapping: EventSourceMapping) -> RecordFilter | None:
    compiled = compile_filters(mapping.filter_criteria.patterns, source=mapping.source)
    return None if compiled.is_empty else compiled
