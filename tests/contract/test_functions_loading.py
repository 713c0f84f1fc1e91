"""What every form of function promises when the handler is loaded, cannot be loaded, and can be loaded again."""

from __future__ import annotations

import sys

import pytest

from esmd.invoke.protocol import StartFailed
from esmd.mappings.outcomes import FunctionError
from esmd.observe.events import FunctionInit, FunctionInitFailed

from support.forms import needs
from support.invocations import answer, call

MODULES = {
    "needs_missing.py": "import a_package_nobody_has",
    "has_error.py": "def handle(event, context)\n    pass\n",
    "raises.py": "import json\nlimit = int('many')\n",
    "exits.py": "import sys\nsys.exit(3)",
    "is_interrupted.py": "raise KeyboardInterrupt",
    "needs_name.py": "from json import nothing_of_the_kind",
    "orders_of_tests.py": "def process(event, context): return 'found'\nlimit = 3\n",
}

FAILURES = {
    "needs_missing:process": ("Runtime.ImportModuleError", "No module named 'a_package_nobody_has'"),
    "has_error:handle": ("Runtime.UserCodeSyntaxError", "Syntax error in module 'has_error'"),
    "raises:handle": ("ValueError", "invalid literal for int()"),
    "exits:handle": ("Runtime.ExitError", "Runtime exited with error: exit status 3"),
    "is_interrupted:handle": ("Runtime.ExitError", "Runtime exited with error: signal: interrupt"),
    "needs_name:handle": ("Runtime.ImportModuleError", "cannot import name 'nothing_of_the_kind'"),
    "order_of_tests:process": ("Runtime.ImportModuleError", "Unable to import module 'order_of_tests'"),
    "orders_of_tests:proces": ("Runtime.HandlerNotFound", "Handler 'proces' missing on module 'orders_of_tests'"),
}


@pytest.fixture
def modules(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in (*MODULES, "arrives_late.py"):
        sys.modules.pop(name.removesuffix(".py"), None)
    sys.path[:] = [folder for folder in sys.path if folder != str(tmp_path)]


@pytest.mark.parametrize("handler", FAILURES)
async def test_an_invocation_of_what_cannot_be_loaded_fails_and_says_why(form, make, modules, handler):
    error_type, text = FAILURES[handler]
    outcome = await call(await make(handler, python_path=(str(modules),)))
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == error_type
    assert text in outcome.message
    if form.has("at hand"):  # from afar an error does not say when it happened
        assert outcome.kind == "init"


@needs("at hand")
@pytest.mark.parametrize("handler", FAILURES)
async def test_a_function_that_cannot_be_loaded_does_not_start(make, modules, said, handler):
    error_type, text = FAILURES[handler]
    invoker = await make(handler, python_path=(str(modules),))
    with pytest.raises(StartFailed) as failed:
        await invoker.start()
    assert failed.value.error_type == error_type
    assert text in str(failed.value)
    with pytest.raises(StartFailed):
        await invoker.start()
    assert [event.error_type for event in said.of(FunctionInitFailed)] == [error_type]  # once for the same reason


@needs("our runtime", "at hand")
@pytest.mark.parametrize(
    ("handler", "texts"),
    [
        (
            "order_of_tests:process",
            ["Unable to import module 'order_of_tests': No module named", "{folder}", "mean 'orders_of_tests'?"],
        ),
        (
            "orders_of_tests.deep:process",
            ["Unable to import module 'orders_of_tests.deep'", "'orders_of_tests' is not a package"],
        ),
        ("needs_missing:process", ["packages installed in"]),
        ("has_error:handle", ["{folder}/has_error.py, line 1"]),
        ("needs_name:handle", ["{folder}"]),
        (
            "orders_of_tests:proces",
            ["Handler 'proces' missing on module 'orders_of_tests' ({folder}/orders_of", "Did you mean 'process'?"],
        ),
        ("orders_of_tests:limit", ["Handler 'limit' of module 'orders_of_tests' is not callable (int)."]),
    ],
)
async def test_a_function_that_cannot_start_says_what_was_searched(make, modules, handler, texts):
    with pytest.raises(StartFailed) as failed:
        await (await make(handler, python_path=(str(modules),))).start()
    for text in texts:
        assert text.format(folder=modules) in str(failed.value)


async def test_the_stack_of_a_failed_import_starts_in_the_users_code(form, make, modules):
    outcome = await call(await make("raises:handle", python_path=(str(modules),)))
    assert isinstance(outcome, FunctionError)
    assert "limit = int('many')" in outcome.stack[-1]
    if form.has("our runtime"):
        assert len(outcome.stack) == 1


async def test_a_function_that_could_not_start_heals(form, make, modules, said_there):
    invoker = await make("arrives_late:handle", python_path=(str(modules),))
    outcome = await call(invoker)
    assert isinstance(outcome, FunctionError)
    assert outcome.kind == "init"
    (modules / "arrives_late.py").write_text("def handle(event, context): return 'here'")
    await invoker.start()
    assert await answer(invoker) == "here"
    assert [event.after_failures for event in said_there.of(FunctionInit)] == [1]


@needs("processes", "at hand")
async def test_a_folder_that_is_not_there_is_a_failed_start(make, tmp_path):
    missing = str(tmp_path / "missing")
    invoker = await make("answering:echo", working_directory=missing)
    with pytest.raises(StartFailed, match=f"Cannot start a process in {missing}"):
        await invoker.start()


@needs("at hand")
async def test_start_loads_once_and_the_first_invocation_finds_it_warm(make, said):
    invoker = await make("answering:count", name="counting")
    await invoker.start()
    await invoker.start()
    first = await answer(invoker)
    assert (await answer(invoker))["count"] == first["count"] + 1
    (init,) = said.of(FunctionInit)
    assert init.function == "counting"
    assert init.duration_ms > 0
    assert init.after_failures is None


async def test_any_form_can_be_started_twice_and_then_answers(make):
    invoker = await make("answering:echo")
    await invoker.start()
    await invoker.start()
    assert invoker.running == 0
    assert await answer(invoker, 7) == 7
