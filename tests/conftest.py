"""Fixtures for every test: an environment of its own, and the servers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest
from botocore.loaders import JSONFileLoader, Loader

from esmd.testing.embedded import ministack_process
from esmd.testing.fake_sqs import FakeSqs

from support.servers import LOCALSTACK_PYTHON, localstack_process, touch_sqs
from support.shared import shared
from support.stream_servers import kinesis_local, localstack_kinesis  # noqa: F401 - fixtures
from support.stream_world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SERVER_FIXTURES = {"ministack", "localstack", "any_sqs_server", "kinesis_local", "localstack_kinesis"}
PROCESS_FOLDERS = {"conformance", "contract", "faults", "integration", "packaging", "typing"}
FOREIGN_PREFIXES = ("AWS_", "LOCALSTACK_", "ESMD_")
FOREIGN_NAMES = {
    "USE_SSL",
    "EDGE_PORT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
}

# A shell has what it starts in the background ignore interrupts, and every process of a test would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, so that a change is judged by itself; `make explore` looks for new ones.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
# A tenth for `make test-fast`, which is run after every change.
hypothesis.settings.register_profile("few", derandomize=True, deadline=None, max_examples=10)
hypothesis.settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
# Few: `make mutants` runs them again for every mutant.
# Nor is the smallest example of any interest there, only that there is one.
hypothesis.settings.register_profile(
    "brief",
    derandomize=True,
    deadline=None,
    max_examples=15,
    database=None,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    suppress_health_check=(hypothesis.HealthCheck.too_slow,),
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_configure(config: pytest.Config) -> None:
    """Have looptime look once at each fixture: it lists all of pytest-asyncio for it, in every test."""
    plugin = config.pluginmanager.getplugin("looptime_plugin")
    look = plugin._should_patch
    known: dict[tuple[str, str], bool] = {}

    def should_patch(fixture: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> bool:
        key = (fixture.func.__module__, fixture.argname)
        if key not in known:
            known[key] = look(fixture, request)
        return known[key]

    plugin._should_patch = should_patch


def pytest_sessionstart() -> None:
    """Say that there is no current event loop.

    looptime asks for it before every test, also before those without one, and up to Python 3.13 asking makes a
    loop, which nobody closes: its ResourceWarning then strikes at random.
    """
    asyncio.set_event_loop(None)
    if "MUTANT_UNDER_TEST" in os.environ:
        sys.setrecursionlimit(8 * sys.getrecursionlimit())  # mutmut's detours take frames, and some tests nest deeply


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders unread all of whose tests are left out: reading them takes longer than running many tests."""
    left_out = "not server" in config.option.markexpr and collection_path.name in PROCESS_FOLDERS
    return True if left_out and collection_path.parent == config.rootpath / "tests" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start servers or processes, so that nobody has to remember."""
    for item in items:
        folders = set(item.path.relative_to(item.config.rootpath).parts)
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())) or PROCESS_FOLDERS & folders:
            item.add_marker(pytest.mark.server)


def pytest_collection_finish() -> None:
    """Have the garbage collector not look through thousands of tests whenever one of them makes garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def botocore_data() -> Iterator[None]:
    """Look through botocore's descriptions of services once, not in every session: most of what a client costs."""
    read = functools.cache(JSONFileLoader().load_file)
    look_through = Loader.list_available_services
    services: dict[tuple[str, ...], list[str]] = {}

    def list_available_services(loader: Loader, type_name: str) -> list[str]:
        where = (type_name, *filter(os.path.isdir, loader.search_paths))
        if where not in services:
            services[where] = look_through(loader, type_name)
        return services[where]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, file_path: read(file_path))
        patch.setattr(Loader, "list_available_services", list_available_services)
        yield


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The empty folder that stands for the home of the next test, alone in a list."""
    home = tmp_path_factory.mktemp("homes") / "0"
    home.mkdir()
    return [home]


@pytest.fixture
def empty_home(homes: list[Path]) -> Iterator[Path]:
    """The folder that stands for the home. Nearly every test leaves it empty, for the next one."""
    home = homes[-1]
    yield home
    if any(home.iterdir()):
        homes[-1] = home.with_name(str(int(home.name) + 1))
        homes[-1].mkdir()


@pytest.fixture(autouse=True)
def clean_environment(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the developer's own settings; return the folder that stands for the home."""
    home = empty_home
    for name in list(os.environ):
        if name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    for name, folder in {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_STATE_HOME": home / ".local" / "state",
        "XDG_DATA_HOME": home / ".local" / "share",
        "XDG_CACHE_HOME": home / ".cache",
        "XDG_RUNTIME_DIR": home / ".run",
    }.items():
        monkeypatch.setenv(name, str(folder))
    # One loop for all tests but those that are about the other.
    monkeypatch.setenv("ESMD_LOOP", "asyncio")
    # Without it botocore would look for credentials at a cloud machine's metadata address.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return home


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    """MiniStack's URL."""
    process = ministack_process()
    process.start()
    try:
        yield process.endpoint_url
    finally:
        process.stop()


@pytest.fixture
def world(ministack: str) -> Iterator[World]:
    """MiniStack with streams and queues to be made by a test, and clients for them."""
    with World(kinesis=ministack, others=ministack) as world:
        yield world


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Real LocalStack's URL; the processes of a run share it."""
    if not LOCALSTACK_PYTHON.exists():
        pytest.skip("LocalStack is not installed here: make localstack (needs Python 3.13)")
    folder = tmp_path_factory.getbasetemp()
    with shared(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder, "localstack", _localstack) as url:
        yield url


@contextlib.contextmanager
def _localstack() -> Iterator[str]:
    process = localstack_process()
    process.start()
    try:
        touch_sqs(process.endpoint_url)
        yield process.endpoint_url
    finally:
        process.stop()


@pytest.fixture
async def fake_sqs() -> AsyncIterator[FakeSqs]:
    """A fast SQS in this test's loop; see `esmd.testing.fake_sqs`."""
    async with FakeSqs() as server:
        yield server


@pytest.fixture(params=["ministack", "localstack"])
def any_sqs_server(request: pytest.FixtureRequest) -> str:
    """The URL of each real server in turn."""
    url: str = request.getfixturevalue(request.param)
    return url
