"""The daemon against LocalStack's own event source mapping, on a real LocalStack: a backlog, and then a light load.

One LocalStack, the one that the tests install, serves the whole run. Each measurement has a queue of its own making: first
there are `BACKLOG` messages, and what is handled in `SECONDS` is counted from the first handled one on; then there is one
message after the other, and each handler's call tells how old its message is.

LocalStack runs its function as a process, by the plugin of the tests, and the daemon its handler inline: both are there
before the first message counts, and do nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fake.spec import ACCOUNT, REGION, queue_arn, queue_name
from benchmarks.run import RunError
from benchmarks.subjects import Place, Subject, environment
from benchmarks.tally import VARIABLE, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.fake.spec import FakeSpec
    from benchmarks.moments import Figures

BACKLOG = 2_000
SECONDS = 15.0
"""Longest that a backlog is looked at."""

_SINGLES = 40
_PAUSE = 0.2
"""Seconds between single messages."""

_PATIENCE = 60.0
_WARM_UP = 10
"""Single messages that do not count."""

_ROOT = Path(__file__).parents[1]
_PYTHON = _ROOT / ".localstack" / "venv" / "bin" / "python"
_FUNCTION = "counting"


def missing() -> str:
    """Why there is nothing to compare with; empty if there is."""
    installed = _PYTHON.exists() and (_PYTHON.parents[1] / ".plugin").exists()
    return "" if installed else "LocalStack is not installed: `make localstack` installs it, with Python 3.13"


def own_mapping() -> Subject:
    """LocalStack's. There is no process of its own to start."""
    return Subject(name="LocalStack's own mapping", command=lambda _: [], missing=missing())


def measure(subject: Subject, _: FakeSpec) -> Figures:
    """Messages a second of a backlog, and latencies of single messages.

    Raises:
        RunError: LocalStack, or the daemon, did not do what it was asked for.
    """
    # They take long to load, and are needed here only.
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from esmd.testing.server_process import ServerStartError  # noqa: PLC0415

    try:
        return _measure(subject)
    except (BotoCoreError, ClientError, ServerStartError) as error:
        raise RunError(f"LocalStack: {error}") from error


def _measure(subject: Subject) -> Figures:
    server = _server()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        place = Place(url=server.endpoint_url, folder=folder, tally=folder / "tally")
        at_work = _mapped if subject.command(place) == [] else _daemon
        rate = _rate(functools.partial(at_work, subject, place), server.endpoint_url, place)
        place.tally.unlink()
        ages = _ages(functools.partial(at_work, subject, place), server.endpoint_url, place)
    return {
        "rate": rate,
        "p50_ms": statistics.median(ages) / 1e6,
        "p99_ms": statistics.quantiles(ages, n=100)[98] / 1e6,
    }


def _rate(at_work: Callable[[], Any], url: str, place: Place) -> float:
    with _queue(url) as send, contextlib.closing(Tally(place.tally)) as tally:
        for _ in range(BACKLOG // 10):
            send(10)
        with at_work():
            _wait_for(lambda: tally.total > 0, "message came through")
            began, first = time.monotonic(), tally.total
            while tally.total < BACKLOG and time.monotonic() < began + SECONDS:
                time.sleep(0.002)
            return (tally.total - first) / (time.monotonic() - began)


def _ages(at_work: Callable[[], Any], url: str, place: Place) -> list[int]:
    """Nanoseconds from just before a message is sent to its handler."""
    with _queue(url) as send, contextlib.closing(Tally(place.tally)) as tally, at_work():
        send(1)
        _wait_for(lambda: tally.total > 0, "message came through")
        for _ in range(_WARM_UP + _SINGLES):
            time.sleep(_PAUSE)
            send(1)
        _wait_for(lambda: tally.total > _WARM_UP + _SINGLES, "end of single messages")
        return tally.samples[1 + _WARM_UP :]


def _wait_for(reached: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not reached():
        if time.monotonic() > until:
            raise RunError(f"LocalStack: no {what} in {_PATIENCE:.0f} s")
        time.sleep(0.002)


@contextlib.contextmanager
def _daemon(subject: Subject, place: Place) -> Iterator[None]:
    """`esmd run`; at the end it drains."""
    with (place.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            subject.command(place), env=environment(subject, place), stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
        process.terminate()
        if code := process.wait(30):
            raise RunError(f"{subject.name} ended with {code}\n{(place.folder / 'log').read_text()[-2000:]}")
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _mapped(_: Subject, place: Place) -> Iterator[None]:
    """A function and a mapping of LocalStack's; at the end they are gone."""
    lambda_ = _client("lambda", place.url)
    lambda_.create_function(
        FunctionName=_FUNCTION,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{ACCOUNT}:role/bench",
        Handler="benchmarks.handlers.aged",
        Code={"ZipFile": _archive()},
        Timeout=30,
        Environment={"Variables": {VARIABLE: str(place.tally)}},
    )
    try:
        lambda_.get_waiter("function_active_v2").wait(FunctionName=_FUNCTION, WaiterConfig={"Delay": 1})
        made = lambda_.create_event_source_mapping(EventSourceArn=queue_arn(), FunctionName=_FUNCTION, BatchSize=10)
        try:
            yield
        finally:
            _remove(lambda_, made["UUID"])
    finally:
        lambda_.delete_function(FunctionName=_FUNCTION)


def _remove(lambda_: Any, uuid: str) -> None:
    """Delete a mapping, and wait until it is gone: until then it reads the queue, or the next one of its name."""
    lambda_.delete_event_source_mapping(UUID=uuid)

    def is_gone() -> bool:
        return all(each["UUID"] != uuid for each in lambda_.list_event_source_mappings()["EventSourceMappings"])

    _wait_for(is_gone, "end of its mapping")


def _archive() -> bytes:
    """The code of the function: the handlers of the benchmarks."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in ("__init__.py", "handlers.py", "tally.py"):
            archive.write(_ROOT / "benchmarks" / name, f"benchmarks/{name}")
    return data.getvalue()


@contextlib.contextmanager
def _queue(url: str) -> Iterator[Callable[[int], None]]:
    """A new queue; what sends up to ten messages to it at once."""
    sqs = _client("sqs", url)
    queue = sqs.create_queue(QueueName=queue_name())["QueueUrl"]

    def send(count: int) -> None:
        body = f'{{"stamp":"{time.monotonic_ns():020}"}}'
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": str(n), "MessageBody": body} for n in range(count)])

    try:
        yield send
    finally:
        sqs.delete_queue(QueueUrl=queue)


def _client(service: str, url: str) -> Any:
    from botocore.session import get_session  # noqa: PLC0415 - takes long, and is needed here only

    keys = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return get_session().create_client(service, endpoint_url=url, **keys)


@functools.cache
def _server() -> Any:
    """The LocalStack of this run, started by the first who asks; it ends with us."""
    sys.path.append(str(_ROOT / "tests"))
    from support.servers import localstack_process, touch_sqs  # noqa: PLC0415 - only where it is installed

    server = localstack_process()
    server.start()
    atexit.register(server.stop)
    touch_sqs(server.endpoint_url)
    return server
