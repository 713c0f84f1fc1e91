"""Inline functions share the daemon's process; what contradicts it is refused, what they added is taken back."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading

import pytest

from esmd.invoke.inline import InlineInvoker
from esmd.invoke.protocol import StartFailed
from esmd.invoke.threads import Threads
from esmd.mappings.outcomes import Success

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
