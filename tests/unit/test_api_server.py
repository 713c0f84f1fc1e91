"""The API's sockets and its guard: who is served, who is refused and how, and that nobody takes a living daemon's socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
import pytest

from esmd.api import listening, security, server
from esmd.api.address import Address
from esmd.api.client import DaemonClient, DaemonRefused, DaemonUnreachable
from esmd.api.listening import Listening
from esmd.api.parts import ApiParts
from esmd.config.schema import ApiSettings, Config
from esmd.control.protocol import FromFileError, NotFoundError, Reloaded

from support.mapping_lab import Collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TOKEN = "0123456789abcdef"


class Control:
    """Knows no mapping and no function, and breaks on demand."""

    config = Config()
    functions: ClassVar[dict[str, Any]] = {}

    def entries(self) -> list[Any]:
        return []

    async def pause(self, name: str) -> None:
        if name == "broken":
            raise RuntimeError("with details")
        raise NotFoundError(f"there is no mapping {name}", hint="there are: orders")

    async def resume(self, name: str) -> None:
        raise FromFileError("the file disables it", hint="change it there")

    async def reload(self) -> Reloaded:
        return Reloaded(applied=True, added=("a",), unchanged=2)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="esmd-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def collector() -> Collector:
    return Collector()


def parts(collector: Collector, **settings: Any) -> ApiParts:
    config = Config(api=ApiSettings(**settings))
    return ApiParts(control=Control(), status=None, telemetry=collector, config=config)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def served(collector: Collector, folder: Path, **settings: Any) -> AsyncIterator[tuple[Path, str]]:
    """The path of the socket, and the URL where one is served."""
    path = folder / "run" / "esmd.sock"
    made = Listening(parts(collector, **settings), path=path, listen=settings.get("listen"))
    async with made:
        ports = [each.getsockname()[1] for each in made.sockets if each.family != socket.AF_UNIX]
        yield path, f"http://127.0.0.1:{ports[0]}" if ports else ""


def unavailable(collector: Collector) -> list[Any]:
    return [event for event in collector.said if event.name == "api.unavailable"]


# --- the Unix socket


async def test_the_socket_is_for_its_user_only_and_gone_at_the_end(collector, folder):
    async with served(collector, folder) as (path, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        async with DaemonClient.connect(path) as daemon:
            assert await daemon.get("/esmd/v1/mappings") == []
            assert (await daemon.post("/esmd/v1/reload"))["added"] == ["a"]
    assert not path.exists()
    assert unavailable(collector) == []


async def test_a_socket_that_a_dead_daemon_left_is_replaced(collector, folder):
    path = folder / "run" / "esmd.sock"
    path.parent.mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with served(collector, folder), DaemonClient.connect(path) as daemon:
        assert await daemon.get("/esmd/v1/mappings") == []
    assert unavailable(collector) == []


async def test_a_living_daemons_socket_is_left_to_it(collector, folder):
    async with served(collector, folder) as (path, _):
        async with served(Collector(), folder):
            pass
        other = Collector()
        async with served(other, folder):
            [event] = unavailable(other)
            assert f"process id {os.getpid()} serves there" in event.error_message
            async with DaemonClient.connect(path) as daemon:
                assert await daemon.get("/esmd/v1/mappings") == []
        assert path.exists()


async def test_what_is_no_socket_is_left_as_it_is(collector, folder):
    path = folder / "run" / "esmd.sock"
    path.parent.mkdir()
    path.write_text("precious")
    async with served(collector, folder):
        assert "no socket" in unavailable(collector)[0].error_message
    assert path.read_text() == "precious"


async def test_a_path_that_is_too_long_is_said(collector, folder):
    path = folder / ("x" * 120)
    async with Listening(parts(collector), path=path, listen=None):
        assert "ESMD_SOCKET" in unavailable(collector)[0].hint
    assert not path.exists()


async def test_a_port_that_is_taken_is_said_and_the_socket_works(collector, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        async with Listening(parts(collector), path=folder / "s", listen=listen):
            assert unavailable(collector)[0].address == f"http://{listen}"
            async with DaemonClient.connect(folder / "s") as daemon:
                assert await daemon.get("/esmd/v1/mappings") == []


async def test_a_daemon_that_nobody_called_ends_at_once(collector, folder):
    async with served(collector, folder, listen="127.0.0.1:0"):
        pass
    assert [event.name for event in collector.said] == ["api.listening", "api.listening"]


def test_listening_loads_no_server():
    code = (
        "import sys, esmd.api.listening, esmd.api.parts\n"
        "print('aiohttp.web' in sys.modules or 'aiohttp.web_app' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- refusals


async def test_refusals_are_json_and_say_what_to_do(collector, folder):
    async with served(collector, folder) as (path, _), DaemonClient.connect(path) as daemon:
        with pytest.raises(DaemonRefused) as refused:
            await daemon.post("/esmd/v1/mappings/nope/pause")
        assert (refused.value.status, refused.value.error) == (404, "NotFound")
        assert (refused.value.message, refused.value.hint) == ("there is no mapping nope", "there are: orders")
        with pytest.raises(DaemonRefused) as refused:
            await daemon.post("/esmd/v1/mappings/nope/resume")
        assert (refused.value.status, refused.value.error) == (409, "FromFile")
        with pytest.raises(DaemonRefused) as refused:
            await daemon.get("/nothing/here")
        assert (refused.value.status, refused.value.error) == (404, "NotFound")
        with pytest.raises(DaemonRefused) as refused:
            await daemon.get("/esmd/v1/reload")
        assert (refused.value.status, refused.value.error) == (405, "MethodNotAllowed")


async def test_a_defect_is_answered_and_said_without_ending_anything(collector, folder):
    async with served(collector, folder) as (path, _), DaemonClient.connect(path) as daemon:
        with pytest.raises(DaemonRefused) as refused:
            await daemon.post("/esmd/v1/mappings/broken/pause")
        assert refused.value.status == 500
        assert "details" not in str(refused.value)
        assert await daemon.get("/esmd/v1/mappings") == []
    [event] = [event for event in collector.said if event.name == "api.failed"]
    assert (event.method, event.path, event.error_type) == ("POST", "/esmd/v1/mappings/broken/pause", "RuntimeError")


async def test_no_daemon_is_said_with_what_to_do(folder):
    async with DaemonClient.connect(folder / "none") as daemon:
        with pytest.raises(DaemonUnreachable, match="no daemon answers on the socket") as unreachable:
            await daemon.get("/esmd/v1/mappings")
    assert "esmd run" in unreachable.value.hint


# --- over TCP


async def status(url: str, *, method: str = "GET", **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=names) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:1", 200),
        ("[::1]:4580", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("esmd.localhost", 200),
        ("esmd.lan:4580", 200),
        ("192.168.1.5", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("esmd.lan@evil.example", 403),
        ("[bad", 403),
        ("", 403),
    ],
)
async def test_only_names_that_are_ours_are_served(collector, folder, host, code):
    async with served(collector, folder, listen="127.0.0.1:0", hosts=("esmd.lan",)) as (_, url):
        assert await status(f"{url}/esmd/v1/mappings", Host=host) == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        ("", 403),
        ("http://[", 403),  # no URL at all
        ("same", 200),
    ],
)
async def test_pages_of_other_sites_are_refused(collector, folder, origin, code):
    async with served(collector, folder, listen="127.0.0.1:0") as (_, url):
        given = url if origin == "same" else origin
        assert await status(f"{url}/esmd/v1/reload", method="POST", Origin=given) == code


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer", 401),
        ("Bearer é", 401),
        ("", 401),
    ],
)
async def test_a_token_has_to_be_shown_over_tcp(collector, folder, authorization, code):
    async with served(collector, folder, listen="127.0.0.1:0", token=TOKEN) as (path, url):
        assert await status(f"{url}/esmd/v1/mappings", Authorization=authorization) == code
        async with DaemonClient.connect(path) as daemon:  # its mode guards the socket
            assert await daemon.get("/esmd/v1/mappings") == []


async def test_probes_need_no_token(collector, folder):
    async with served(collector, folder, listen="127.0.0.1:0", token=TOKEN) as (_, url):
        assert await status(f"{url}/livez") == 200


@pytest.mark.parametrize(
    ("method", "password", "code"),
    [("GET", TOKEN, 200), ("GET", "wrong", 401), ("POST", TOKEN, 401)],
)
async def test_a_browser_shows_the_token_as_its_password_and_changes_nothing_with_it(
    collector, folder, method, password, code
):
    path = "/esmd/v1/mappings" if method == "GET" else "/esmd/v1/reload"
    authorization = "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()
    async with (
        served(collector, folder, listen="127.0.0.1:0", token=TOKEN) as (_, url),
        aiohttp.ClientSession() as session,
    ):
        async with session.request(method, f"{url}{path}", headers={"Authorization": authorization}) as answer:
            assert answer.status == code
        async with session.get(f"{url}/") as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="esmd"'


async def test_the_client_shows_its_token(collector, folder):
    async with served(collector, folder, listen="127.0.0.1:0", token=TOKEN) as (_, url):
        async with DaemonClient.connect(Address(url=url, token=TOKEN)) as daemon:
            assert await daemon.get("/esmd/v1/mappings") == []
        async with DaemonClient.connect(url) as daemon:
            with pytest.raises(DaemonRefused, match="ESMD_API_TOKEN"):
                await daemon.get("/esmd/v1/mappings")


# --- bounds


@pytest.mark.parametrize(
    ("path", "size", "code"),
    [
        ("/esmd/v1/reload", security.BODY_LIMIT, 200),
        ("/esmd/v1/reload", security.BODY_LIMIT + 1, 413),
        ("/2015-03-31/functions/f/invocations", security.BODY_LIMIT + 1, 404),
        ("/2015-03-31/functions/f/invocations", security.INVOKE_LIMIT + 1, 413),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_are_bounded(collector, folder, path, size, code, chunked):
    async def pieces():
        for start in range(0, size, 65_536):
            yield b"x" * min(65_536, size - start)

    async with served(collector, folder, listen="127.0.0.1:0") as (_, url), aiohttp.ClientSession() as session:
        data = pieces() if chunked else io.BytesIO(b"x" * size)
        async with session.post(f"{url}{path}", data=data) as response:
            assert response.status == code


async def test_a_body_that_does_not_come_is_not_waited_for(collector, folder, monkeypatch):
    monkeypatch.setattr(security, "BODY_SECONDS", 0.05)
    async with served(collector, folder) as (path, _):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"POST /esmd/v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_asks_nothing_is_closed(collector, folder, monkeypatch):
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    async with served(collector, folder) as (path, _):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /esmd")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_is_accepted_while_the_server_closes_is_closed_too(collector, folder):
    with socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as client:
        waiting.bind(str(folder / "s"))
        waiting.listen()
        waiting.setblocking(False)
        made = await server.serve(parts(collector), [waiting])
        client.connect(str(folder / "s"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # accepted, and no connection yet
        await made.close()
        client.settimeout(10)
        assert await asyncio.to_thread(client.recv, 1) == b""


async def test_connections_above_the_bound_are_closed(collector, folder, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    async with served(collector, folder) as (path, _), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            daemon = await stack.enter_async_context(DaemonClient.connect(path))
            assert await daemon.get("/esmd/v1/mappings") == []
        daemon = await stack.enter_async_context(DaemonClient.connect(path))
        with pytest.raises(DaemonUnreachable):
            await daemon.get("/esmd/v1/mappings")


def test_the_lock_is_released_where_the_socket_cannot_be_made(folder):
    first = listening._locked(folder / "s")
    os.close(first)
    os.close(listening._locked(folder / "s"))
