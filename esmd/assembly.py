"""Puts a daemon together from a configuration: clients, functions, mappings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from esmd.config import aws
from esmd.daemon import About, Daemon, DaemonOptions
from esmd.function import Function
from esmd.invoke.factory import make_invoker
from esmd.invoke.protocol import FunctionSpec
from esmd.mappings.filters import compile_filters
from esmd.mappings.scaling import ScalingLimits
from esmd.pollers.localstack import MAX_POLL_SECONDS, Connection, LocalStackClients
from esmd.pollers.sqs import BotoSqs
from esmd.sqs.runner import SqsRunner
from esmd.sqs.settings import SqsSettings
from esmd.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import AwsSettings, Config, FunctionSettings, SqsMapping
    from esmd.observe.statistics import Statistics
    from esmd.observe.telemetry import Telemetry
    from esmd.shutdown import Shutdown
    from esmd.trouble import Trouble

UNRESERVED_CONCURRENCY = {"worker": 64, "inline": 1000}
"""Most invocations at once of a function without `reserved_concurrency`: a worker is a process, an inline call is not.
1,000 is what an AWS account has by default."""

_LOCAL_POLL_SECONDS = 5
"""Longest long poll on a local endpoint: a stop has to wait for the poll under way, and polls cost nothing there."""

_POOL = 512
"""Most connections per client: long polls hold theirs, deletes must not queue behind them."""


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
    """Builds the parts of one daemon. Make it inside the running loop."""

    def __init__(
        self,
        config: Config,
        *,
        options: RunOptions,
        clients: LocalStackClients,
        environ: Mapping[str, str],
        telemetry: Telemetry,
        statistics: Statistics,
        shutdown: Shutdown,
    ) -> None:
        self._config = config
        self._options = options
        self._clients = clients
        self._environ = environ
        self._telemetry = telemetry
        self._statistics = statistics
        self._shutdown = shutdown
        self._where = aws.endpoint("sqs", settings=config.aws, environ=environ)

    def daemon(self) -> Daemon:
        """The daemon, nothing started yet."""
        chosen = {
            name: mapping
            for name, mapping in self._config.mappings.items()
            if not self._options.only or name in self._options.only
        }
        enabled = [mapping for mapping in chosen.values() if mapping.enabled]
        functions = {
            name: self._function(name, self._config.functions[name])
            for name in sorted({mapping.function_name for mapping in enabled})
        }
        return Daemon(
            supervisors=[self._supervisor(mapping, functions[mapping.function_name]) for mapping in enabled],
            disabled=[name for name, mapping in chosen.items() if not mapping.enabled],
            functions=functions,
            about=About(
                files=tuple(map(str, self._config.files)),
                endpoint=self._where.url or "AWS",
                region=aws.region(self._where, settings=self._config.aws, environ=self._environ),
            ),
            options=self._options.daemon,
            telemetry=self._telemetry,
            statistics=self._statistics,
            shutdown=self._shutdown,
        )

    def _function(self, name: str, settings: FunctionSettings) -> Function:
        queues = [m.queue for m in self._config.mappings.values() if m.function_name == name]
        limit = settings.reserved_concurrency
        spec = FunctionSpec(
            name=name,
            handler=settings.handler,
            timeout=settings.timeout,
            concurrency=UNRESERVED_CONCURRENCY[settings.isolation] if limit is None else limit,
            environment=settings.environment,
            python_path=tuple(map(str, settings.python_path)),
            working_directory=str(settings.directory),
            region=queues[0].region,
            account_id=queues[0].account_id,
            aws_environment=self._aws_environment(),
        )
        return Function(name, make_invoker(spec, isolation=settings.isolation, telemetry=self._telemetry))

    def _aws_environment(self) -> dict[str, str]:
        """What a handler's own AWS clients need to reach the same local endpoint. Real keys are never handed on."""
        if self._where.url is None:
            return {}
        given = {"AWS_ENDPOINT_URL": self._where.url}
        if aws.credentials(self._where, settings=self._config.aws, environ=self._environ).kind == "dummy":
            given |= {"AWS_ACCESS_KEY_ID": aws.DUMMY_KEY, "AWS_SECRET_ACCESS_KEY": aws.DUMMY_KEY}
        return given

    def _supervisor(self, mapping: SqsMapping, function: Function) -> Supervisor:
        queue = mapping.queue
        api = BotoSqs(self._clients, region=queue.region, account_id=queue.account_id, queue_name=queue.name)
        record_filter = compile_filters(mapping.filter_criteria.patterns, source="sqs")
        settings = self._settings(mapping, function)

        def make_runner(trouble: Trouble) -> SqsRunner:
            return SqsRunner(
                settings,
                api=api,
                function=function,
                record_filter=None if record_filter.is_empty else record_filter,
                telemetry=self._telemetry,
                trouble=trouble,
                stop=self._shutdown.drain,
            )

        return Supervisor(
            mapping.name,
            function=function,
            make_runner=make_runner,
            telemetry=self._telemetry,
            stop=self._shutdown.drain,
        )

    def _settings(self, mapping: SqsMapping, function: Function) -> SqsSettings:
        pollers = mapping.provisioned_poller_config
        backoff = mapping.retry_backoff
        poll = mapping.receive_wait_time_seconds or self._options.longest_poll
        if poll is None:
            poll = _LOCAL_POLL_SECONDS if self._where.is_local else MAX_POLL_SECONDS
        return SqsSettings(
            name=mapping.name,
            queue_arn=mapping.event_source_arn,
            region=mapping.queue.region,
            fifo=mapping.queue.fifo,
            batch_size=mapping.batch_size,
            window=mapping.maximum_batching_window_in_seconds,
            report_batch_item_failures=mapping.report_batch_item_failures,
            limits=ScalingLimits.of(
                maximum_concurrency=mapping.scaling_config.maximum_concurrency,
                provisioned_pollers=(pollers.minimum_pollers, pollers.maximum_pollers) if pollers else None,
                function_limit=function.limit,
            ),
            function_timeout=self._config.functions[mapping.function_name].timeout,
            visibility_heartbeat=mapping.visibility_heartbeat,
            retry_backoff=(backoff.initial, backoff.maximum) if backoff else None,
            release_on_stop=mapping.release_on_stop,
            longest_poll=poll,
            log_payloads=self._options.log_payloads,
        )
