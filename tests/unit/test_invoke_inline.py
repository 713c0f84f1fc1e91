"""Inline functions share the daemon's process; what contradicts it is refused, what they added is taken back."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import sys
import threading

import pytest

from esmd.invoke.inline import InlineInvoker
from esmd.invoke.protocol import MAX_REQUEST_BYTES, StartFailed
from esmd.invoke.threads import Threads
from esmd.mappings.events import Event
from esmd.mappings.outcomes import FunctionError, Rejected, Success, Throttled, Unreachable
from esmd.mappings.records import stream_records
from esmd.observe.events import FunctionInit, FunctionInitFailed

from support.invocations import Recorder, function, until

ID = "8f3c5d0e-0000-4000-8000-000000000001"
request = contextvars.ContextVar("request", default="none")


@pytest.fixture
def telemetry():
    return Recorder()


@pytest.fixture
def make(telemetry):
    def build(handler, **changes):
        return InlineInvoker(function(handler, **changes), telemetry=telemetry)

    return build


async def test_another_module_of_the_same_name_is_refused(make, tmp_path):
    (tmp_path / "answering.py").write_text("def echo(event, context): return 'the wrong one'")
    first = make("answering:echo")
    await first.start()
    with pytest.raises(StartFailed, match=r"Module 'answering' of function orders is .* Use `isolation: worker`"):
        await make("answering:echo", python_path=(str(tmp_path),)).start()
    sys.path.remove(str(tmp_path))
    await first.close()


async def test_an_event_of_values_is_refused_by_the_length_of_its_json(make):
    invoker = make("answering:echo")
    await invoker.start()
    [record] = stream_records(["1"], [None], [0.0], [b'"' + b"x" * MAX_REQUEST_BYTES + b'"'])
    outcome = await invoker.invoke(Event([record]), request_id=ID)
    assert isinstance(outcome, Rejected)
    [small] = stream_records(["1"], [None], [0.0], [b'"x"'])
    assert await invoker.invoke(Event([small]), request_id=ID) == Success(b'{"Records": ["x"]}')
    await invoker.close()


async def test_another_value_of_a_variable_is_refused(make, monkeypatch):
    monkeypatch.setenv("INLINE_TABLE", "one")
    with pytest.raises(StartFailed, match="INLINE_TABLE"):
        await make("answering:echo", environment={"INLINE_TABLE": "other"}).start()
    assert os.environ["INLINE_TABLE"] == "one"


async def test_variables_are_there_until_the_last_function_that_set_them_is_closed(make):
    first = make("answering:echo", environment={"INLINE_TABLE": "one"})
    second = make("answering:count", environment={"INLINE_TABLE": "one"})
    await first.start()
    await second.start()
    await first.close()
    assert os.environ["INLINE_TABLE"] == "one"
    await second.close()
    assert "INLINE_TABLE" not in os.environ


async def test_a_function_that_fails_to_load_leaves_no_variables(make):
    with pytest.raises(StartFailed):
        await make("no_such_module:echo", environment={"INLINE_TABLE": "one"}).start()
    assert "INLINE_TABLE" not in os.environ


async def test_variables_for_aws_clients_give_way_to_the_daemons_own(make, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_INLINE", "http://the.daemons")
    invoker = make("answering:echo", aws_environment={"AWS_ENDPOINT_URL_INLINE": "http://other"})
    await invoker.start()
    await invoker.close()
    assert os.environ["AWS_ENDPOINT_URL_INLINE"] == "http://the.daemons"


async def test_a_folder_is_put_on_the_path_once(make):
    for _ in range(2):
        invoker = make("answering:echo")
        await invoker.start()
        await invoker.close()
    (folder,) = function("answering:echo").python_path
    assert sys.path.count(folder) == 1


async def test_log_context_reaches_a_sync_handler_on_its_thread(make):
    invoker = make("answering:echo")
    invoker._handler = lambda event, context: [request.get(), threading.current_thread().name]
    request.set("bound")
    assert await invoker.invoke(b"1", request_id=ID) == Success(b'["bound", "esmd-orders-1"]')
    await invoker.close()


async def test_an_awaitable_that_comes_too_late_is_never_awaited(make):
    go_on = threading.Event()
    awaited = []

    async def body():
        awaited.append(True)

    def slow(event, context):
        go_on.wait(10)
        return body()

    invoker = make("answering:echo", timeout=0.05)
    invoker._handler = slow
    await invoker.invoke(b"1", request_id=ID)
    go_on.set()
    await until(lambda: invoker.running == 0)
    assert awaited == []
    await invoker.close()


async def test_the_place_of_a_handler_that_was_late_is_free_when_it_returns(make):
    go_on = threading.Event()
    freed = []
    invoker = make("answering:echo", timeout=0.05)
    invoker._handler = lambda event, context: go_on.wait(10)
    invoker.on_freed(lambda: freed.append(invoker.running))
    await invoker.invoke(b"1", request_id=ID)
    assert await invoker.invoke(b"1", request_id=ID) == Throttled()
    assert freed == []
    go_on.set()
    await until(lambda: freed)
    assert freed == [0]
    await invoker.close()


async def test_a_place_that_an_invocation_gives_back_itself_is_not_told(make):
    freed = []
    invoker = make("answering:echo")
    invoker.on_freed(lambda: freed.append(True))
    await invoker.invoke(b"1", request_id=ID)
    await asyncio.sleep(0)
    assert freed == []
    await invoker.close()


@pytest.mark.looptime
async def test_a_function_that_does_not_load_is_tried_further_and_further_apart_and_said_once(
    make, telemetry, tmp_path
):
    invoker = make("inline_late:handle", python_path=(str(tmp_path),), concurrency=3)
    loop = asyncio.get_running_loop()
    tried = []
    for _ in range(8):
        outcome = await invoker.invoke(b"1", request_id=ID)
        assert isinstance(outcome, FunctionError)
        assert (outcome.kind, outcome.error_type) == ("init", "Runtime.ImportModuleError")
        tried.append(loop.time())
    waits = [later - earlier for earlier, later in itertools.pairwise(tried)]
    for wait, most in zip(waits, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], strict=True):
        assert 0.75 * most <= wait <= most + 0.01
    (said,) = telemetry.of(FunctionInitFailed)
    assert said.error_type == "Runtime.ImportModuleError"
    waiting = [asyncio.create_task(invoker.invoke(b"1", request_id=ID)) for _ in range(3)]
    await asyncio.sleep(0)
    assert invoker.running == 3
    assert {type(outcome) for outcome in await asyncio.gather(*waiting)} == {FunctionError}
    (tmp_path / "inline_late.py").write_text("def handle(event, context): return 'here'")
    await invoker.start()
    assert [init.after_failures for init in telemetry.of(FunctionInit)] == [9]  # all that waited had one attempt
    await invoker.close()
    sys.path.remove(str(tmp_path))
    sys.modules.pop("inline_late", None)


@pytest.mark.looptime
async def test_closing_ends_the_wait_for_another_attempt(make, tmp_path):
    invoker = make("inline_never:handle", python_path=(str(tmp_path),), concurrency=2)
    await invoker.invoke(b"1", request_id=ID)
    waiting = asyncio.create_task(invoker.invoke(b"1", request_id=ID))
    start = asyncio.create_task(invoker.start())
    await asyncio.sleep(0.01)
    await invoker.close()
    assert await waiting == Unreachable("Function orders is shutting down.")
    with pytest.raises(StartFailed, match="shutting down"):
        await start
    with pytest.raises(StartFailed, match="shutting down"):
        await invoker.start()
    sys.path.remove(str(tmp_path))


async def test_threads_are_reused_and_end_when_closed():
    threads = Threads("reused")
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(5)}
    assert names == {"reused-1"}
    both = [threads.run(lambda: threading.current_thread().name) for _ in range(2)]
    assert len(asyncio.all_tasks()) == 1
    await asyncio.gather(*both)
    threads.close()
    await until(lambda: not [each for each in threading.enumerate() if each.name.startswith("reused")])


async def test_what_a_thread_raises_reaches_the_one_who_waits():
    threads = Threads("raising")
    with pytest.raises(SystemExit):
        await threads.run(lambda: sys.exit(3))
    assert await threads.run(lambda: "still there") == "still there"
    threads.close()
