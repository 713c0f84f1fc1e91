"""What every form of function promises about what its handler prints, and does to the process it runs in."""

from __future__ import annotations

import pytest

from esmd.mappings.outcomes import Success
from esmd.observe.events import FunctionInit, HandlerCrashed, HandlerOutput

from support.forms import needs
from support.invocations import ID, answer, call, is_running, until


@needs("output")
async def test_each_printed_line_is_an_event_of_its_request(make, said):
    assert await call(await make("meddling:say")) == Success(b"null")
    lines = said.of(HandlerOutput)
    assert {line.request_id for line in lines} == {ID}
    assert {line.function for line in lines} == {"orders"}
    assert sorted(line.message for line in lines) == ["first", "no end", "second", "to stderr"]


@needs("all output")
async def test_each_printed_line_says_which_stream_it_came_from(make, said):
    await call(await make("meddling:say"))
    lines = said.of(HandlerOutput)
    assert [line.message for line in lines if line.stream == "stdout"] == ["first", "second", "no end"]
    assert [line.message for line in lines if line.stream == "stderr"] == ["to stderr"]


@needs("output")
async def test_lines_of_two_requests_are_never_mixed_up(make, said):
    invoker = await make("meddling:say_it")
    first, second = f"{ID[:-1]}1", f"{ID[:-1]}2"
    for request_id, word in ((first, "eins"), (second, "zwei ünd")):
        await call(invoker, word, request_id=request_id)
    assert [(line.request_id, line.message) for line in said.of(HandlerOutput)] == [
        (first, "eins"),
        (second, "zwei ünd"),
    ]


@needs("all output")
@pytest.mark.parametrize(
    ("handler", "event", "messages"),
    [
        ("raw", None, ["café �"]),
        ("long_line", 1_048_576, ["x" * 65_536] * 16),
        ("flood", 30_000, [str(number) for number in range(30_000)]),
    ],
)
async def test_all_that_was_printed_is_there_when_the_outcome_is(make, said, handler, event, messages):
    assert await call(await make(f"meddling:{handler}"), event) == Success(b"null")
    assert [line.message for line in said.of(HandlerOutput)] == messages


@needs("all output", "our runtime")
async def test_what_waits_in_a_buffer_of_the_handlers_own_is_taken_too(make, said):
    assert await call(await make("meddling:replace_streams")) == Success(b"null")
    assert [line.message for line in said.of(HandlerOutput)] == ["through a buffer of its own"]


@needs("output")
async def test_what_is_logged_is_heard_as_on_lambda(make, said):
    assert await call(await make("meddling:log_it"), "A-1") == Success(b"null")
    (line,) = said.of(HandlerOutput)
    assert line.message.startswith("[INFO]\t")
    assert line.message.endswith("\tshipped A-1")


@needs("all output")
async def test_what_a_background_thread_prints_later_belongs_to_no_request(make, said, tmp_path):
    go_on = tmp_path / "go on"
    assert await call(await make("meddling:print_later"), str(go_on)) == Success(b"null")
    assert said.of(HandlerOutput) == []
    go_on.touch()
    await until(lambda: said.of(HandlerOutput))
    (line,) = said.of(HandlerOutput)
    assert (line.message, line.request_id) == ("from the background", None)


# --- meddlers


@needs("processes", "at hand")
@pytest.mark.parametrize("handler", ["close_streams", "replace_streams", "change_folder", "start_child"])
async def test_a_handler_that_meddles_with_its_process_can_still_be_invoked(make, said_there, handler):
    invoker = await make(f"meddling:{handler}")
    if handler == "close_streams":
        assert isinstance(await call(invoker), Success)
    else:
        first, second = await call(invoker), await call(invoker)
        assert isinstance(first, Success)
        assert isinstance(second, Success)
        assert len(said_there.of(FunctionInit)) == 1
    assert said_there.of(HandlerCrashed) == []


@needs("processes", "our runtime", "at hand")
async def test_a_handler_that_forks_answers_once_and_can_be_invoked_again(make, said_there):
    invoker = await make("meddling:fork_twice")
    assert [await answer(invoker), await answer(invoker)] == ["forked", "forked"]
    assert len(said_there.of(FunctionInit)) == 1
    assert said_there.of(HandlerCrashed) == []


@needs("processes")
async def test_closing_ends_what_the_handler_left_running(make, stage):
    child = await answer(await make("meddling:start_child"))
    assert is_running(child)
    await stage.clear()
    await until(lambda: not is_running(child))
