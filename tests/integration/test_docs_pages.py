"""The pages of docs/handlers and docs/how-to do what they say: every example is run as its reader would."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from support.pages import PageError, blocks_of, has_example, missing_line, run_page

HANDLERS = Path(__file__).parents[2] / "docs/handlers"
HOW_TO = Path(__file__).parents[2] / "docs/how-to"
PAGES = sorted((*HANDLERS.glob("*.md"), *HOW_TO.glob("*.md")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_an_example(path):
    assert has_example(blocks_of(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_shows_is_what_happens(path, tmp_path, request):
    page = path.read_text(encoding="utf-8")
    environ = dict(os.environ)
    if "<!-- needs: ministack -->" in page:
        environ["AWS_ENDPOINT_URL"] = request.getfixturevalue("ministack")
    folder = tmp_path / "page"
    folder.mkdir()
    missing = run_page(page, folder, environ=environ)
    if missing:
        pytest.skip(f"everything else on the page is as it says, but not run for want of: {', '.join(missing)}")


def test_there_is_a_page_for_the_whole_and_for_python():
    assert {"README.md", "python.md"} <= {path.name for path in PAGES}


# --- the harness itself: an example that fails is seen


def run(page: str, tmp_path: Path) -> list[str]:
    folder = tmp_path / "page"
    folder.mkdir(exist_ok=True)
    return run_page(page, folder, environ=os.environ)


def test_files_are_written_commands_run_and_lines_compared_in_order(tmp_path):
    page = """
```sh file=bin/hello
#!/bin/sh
echo "hello $1"; echo on stderr >&2; test -t 1 && echo "a terminal"
```
and then
```sh run
bin/hello world
```
prints
```text output
hello ...
on stderr
a terminal
```
"""
    assert run(page, tmp_path) == []


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```sh run\nexit 3\n```", "line 1: ended with 3, not 0"),
        ("```sh run\nfalse\necho on\n```", "line 1: ended with 1"),
        ("```sh run exit=1\ntrue\n```", "line 1: ended with 0, not 1"),
        ("```sh run\necho one\n```\n```text output\ntwo\n```", "line 4: the output has no 'two'"),
        ("```sh run\necho one; echo two\n```\n```text output\ntwo\none\n```", "line 4: the output has no 'one'"),
        ("```text output\none\n```", "line 1: an output without a command"),
        ("```sh\ntrue\n```", "line 1: a shell block says"),
        ("```sh runs\ntrue\n```", "line 1: 'runs' has no meaning"),
        ("```python run\npass\n```", "line 1: only sh is run"),
        ("```sh shown exit=1\n```", "line 1: 'exit=1' has no meaning"),
        ("- a list\n\n  ```sh run\n  exit 3\n  ```", "line 3: a fence that would not be seen"),
        ("~~~sh run\nexit 3\n~~~", "line 1: a fence that would not be seen"),
        ("```sh background\nexit 3\n```\n```text output\nnever\n```", "it ended with 3"),
        ("```sh background listens=PORT\necho $PORT >/dev/null; exit 3\n```", "nothing listens on"),
    ],
)
def test_a_page_that_does_not_keep_its_word_fails(tmp_path, page, complaint):
    with pytest.raises(PageError) as caught:
        run(page, tmp_path)
    assert complaint in str(caught.value)


def test_a_command_in_the_background_is_waited_for_and_ended_with_the_page(tmp_path):
    page = """
```sh background listens=PORT
echo "$PORT" > port
python -m http.server --bind 127.0.0.1 "$PORT" & echo started; wait
```
```text output
started
```
```sh run
python -c "import os, urllib.request as u; print(u.urlopen('http://127.0.0.1:' + os.environ['PORT']).status)"
```
```text output
200
```
"""
    run(page, tmp_path)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int((tmp_path / "page/port").read_text())), timeout=5)


def test_a_missing_program_is_named_and_its_output_not_looked_for(tmp_path):
    page = "```sh run needs=no-such-program\nno-such-program\n```\n```text output\nit works\n```"
    assert run(page, tmp_path) == ["no-such-program"]


def test_three_dots_stand_for_anything_on_the_line_and_a_line_is_a_whole_line():
    assert missing_line("init ... ms", "init 12 ms\n") is None
    assert missing_line("12", "init 12 ms\n") == "12"
    assert missing_line("a\nc", "a\nb\nc") is None
    assert missing_line("a\na", "a") == "a"
