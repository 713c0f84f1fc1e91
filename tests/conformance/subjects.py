"""Who is put to the test: esmd as a process, and the mappings that an emulator brings itself."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from support.daemon import Daemon
from support.fault_stage import own_home
from support.stream_servers import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conformance.claims import Scenario

    from support.stream_world import World

HANDLER = Path(__file__).with_name("conformance_handler.py")
TIMEOUT = 2
"""Seconds that a function has; the queues hide messages as long."""


@dataclass(slots=True)
class Job:
    """A scenario with its sources made."""

    scenario: Scenario
    source_arn: str
    mapping: Mapping[str, Any]
    journal: Path
    refused: str | None = None
    """What the subject said where it does not take such a mapping at all."""

    def environment(self) -> dict[str, str]:
        """The handler's."""
        return {"JOURNAL": str(self.journal), "SCRIPT": json.dumps(self.scenario.handler)}


class Subject(Protocol):
    """Runs mappings for a while."""

    name: str

    def at_work(self, jobs: list[Job], world: World, folder: Path) -> contextlib.AbstractContextManager[None]:
        """Run the mappings of all jobs while inside."""
        ...


@dataclass(frozen=True, slots=True)
class Esmd:
    """`esmd run` on a YAML file with every mapping."""

    client: str = "auto"
    name: str = "esmd"

    @contextlib.contextmanager
    def at_work(self, jobs: list[Job], world: World, folder: Path) -> Iterator[None]:
        """See `Subject`."""
        functions = {
            job.scenario.name: {
                "handler": f"{HANDLER.stem}:handle",
                "python_path": [str(HANDLER.parent)],
                "timeout": TIMEOUT,
                "environment": job.environment(),
            }
            for job in jobs
        }
        mappings = {
            job.scenario.name: {
                "EventSourceArn": job.source_arn,
                "FunctionName": job.scenario.name,
                **job.mapping,
                # Beyond AWS, whose waits would take minutes.
                **({} if ":sqs:" in job.source_arn else {"retry_backoff": {"initial": 0.2, "maximum": 1}}),
            }
            for job in jobs
        }
        config = {
            "version": 1,
            "aws": {"region": REGION, "client": self.client},
            "state": {"path": str(folder / "state.db")},
            "functions": functions,
            "mappings": mappings,
        }
        with Daemon(folder, config, environ={**own_home(folder), **world.environ}) as daemon:
            daemon.wait_for("daemon.ready", within=60)
            yield
            daemon.process.terminate()
            assert daemon.exit_code() == 0
        assert daemon.events("internal.error") == []


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The emulator's own functions and mappings, by the API of Lambda."""

    name: str = "its own mappings"

    @contextlib.contextmanager
    def at_work(self, jobs: list[Job], world: World, folder: Path) -> Iterator[None]:
        """See `Subject`."""
        api, made = world.client("lambda"), []
        try:
            for job in jobs:
                try:
                    made.append(self._make(api, job))
                except ClientError as error:
                    job.refused = str(error).partition("\n")[0][:160]
            yield
        finally:
            for mapping in made:
                with contextlib.suppress(ClientError):
                    api.delete_event_source_mapping(UUID=mapping)

    def _make(self, api: Any, job: Job) -> str:
        name = f"{job.scenario.name}-{job.journal.parent.name}"[:64]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(HANDLER, HANDLER.name)
        api.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/conformance",
            Handler=f"{HANDLER.stem}.handle",
            Code={"ZipFile": packed.getvalue()},
            Timeout=TIMEOUT,
            Environment={"Variables": job.environment()},
        )
        made = api.create_event_source_mapping(EventSourceArn=job.source_arn, FunctionName=name, **job.mapping)
        uuid: str = made["UUID"]
        return uuid
