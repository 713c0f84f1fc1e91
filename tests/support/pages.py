"""Runs the examples of a Markdown page as its reader would: files written, commands typed at a terminal, output compared.

The words after the language of a fenced block say what it is. Any other word is an error, so that a slip of the pen
does not take an example out of the tests.

| block                        | what happens                                                                              |
|------------------------------|-------------------------------------------------------------------------------------------|
| ```` ```LANG file=NAME ````  | written to NAME in the page's folder, which begins empty; `#!` makes it executable         |
| ```` ```sh run ````          | run with `sh -e` in that folder; has to end within a minute, with 0 or the N of `exit=N`   |
| ```` ```sh background ````   | started, and ended with everything it started at the page's end; `listens=VARIABLE` waits  |
|                              | until something listens on the port in that variable                                      |
| ```` ```text output ````     | its lines occur, in this order, in the output of the command before it (a command in the   |
|                              | background is given half a minute to say them)                                            |
| ```` ```sh shown ````        | only shown. A block in `sh`, `bash`, `shell` or `console` has to be one of these           |
| any other block              | only shown                                                                                |

`run` and `background` take `needs=PROGRAM`: where there is no such program the block is left out, with the output that
belongs to it, and the page's test ends as skipped after everything else on the page has passed.

A line of an output block is a whole line of the output; `...` in it stands for anything, also for nothing. A command's
stdout and stderr are a terminal without colours, 120 wide: what a page shows is what its reader sees.

Commands find esmd and Python first in PATH, a home of their own, and these variables:

- `PORT`, or any name that ends in `_PORT` and stands on the page after a `$`: a free port, the same all over the page;
- `CHECKOUT`: the checkout's folder, to copy something from `examples/`;
- `AWS_ENDPOINT_URL`: an emulator, if the page has the comment `<!-- needs: ministack -->`.

Fences begin in the first column.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 60.0
BACKGROUND_SECONDS = 30.0
SHELLS = {"sh", "bash", "shell", "console"}

_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL)
_STRAY = re.compile(r"^(?:[ \t]+```|[ \t]*~~~).*$", re.MULTILINE)
_PORT = re.compile(r"\$\{?((?:[A-Z][A-Z0-9]*_)*PORT)\b")
_KINDS = {"file", "run", "background", "output", "shown"}
_OPTIONS = {"run": {"exit", "needs"}, "background": {"listens", "needs"}}


class PageError(AssertionError):
    """A page that does not keep what it promises; the text says where."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: `kind` is one of the table's, or empty; `line` is where it stands."""

    line: int
    language: str
    kind: str
    text: str
    options: Mapping[str, str] = field(default_factory=dict)


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in order.

    Raises:
        PageError: an info string has a word of no meaning, or a shell block does not say what it is.
    """
    found = []
    covered = 0
    for match in _FENCE.finditer(page):
        _refuse_strays(page, covered, match.start())
        covered = match.end()
        found.append(_block(page.count("\n", 0, match.start()) + 1, match["info"].split(), match["text"]))
    _refuse_strays(page, covered, len(page))
    return found


def _refuse_strays(page: str, start: int, end: int) -> None:
    if (stray := _STRAY.search(page, start, end)) is not None:
        line = page.count("\n", 0, stray.start()) + 1
        raise PageError(f"line {line}: a fence that would not be seen: {stray[0].strip()!r}")


def _block(line: int, info: Sequence[str], text: str) -> Block:
    language = info[0] if info else ""
    kind, options = "", {}
    for word in info[1:]:
        name, separator, value = word.partition("=")
        if name in _KINDS and not kind and bool(separator) == (name == "file"):
            kind = name
            if name == "file":
                options["name"] = value
        elif separator and name in _OPTIONS.get(kind, ()):
            options[name] = value
        else:
            raise PageError(f"line {line}: {word!r} has no meaning here")
    if language in SHELLS and not kind:
        raise PageError(f"line {line}: a shell block says whether it is run, background, shown or a file")
    if kind in {"run", "background"} and language != "sh":
        raise PageError(f"line {line}: only sh is run")
    return Block(line, language, kind, text, options)


def has_example(blocks: Sequence[Block]) -> bool:
    """Whether something is run and its output compared."""
    kinds = [block.kind for block in blocks]
    return any(pair in {("run", "output"), ("background", "output")} for pair in pairwise(kinds))


def run_page(page: str, folder: Path, *, environ: Mapping[str, str]) -> list[str]:
    """Run a page in an empty folder; returns the programs that were missing.

    Args:
        page: its text.
        folder: where its files are written and its commands run.
        environ: what the commands find beside PATH, HOME, ports and CHECKOUT.

    Raises:
        PageError: with the line of the block that failed, and what its command wrote.
    """
    missing: list[str] = []
    last: Finished | Background | None = None
    with contextlib.ExitStack() as stack:
        variables = _variables(page, folder, environ)
        for block in blocks_of(page):
            if block.kind in {"run", "background"}:
                program = block.options.get("needs")
                if program is not None and shutil.which(program, path=variables["PATH"]) is None:
                    missing.append(program)
                    last = Finished(None)
                elif block.kind == "run":
                    last = _run(block, folder, variables)
                else:
                    last = stack.enter_context(Background(block, folder, variables))
                    if "listens" in block.options:
                        last.wait_for_port(int(variables[block.options["listens"]]))
            elif block.kind == "file":
                _write(folder / block.options["name"], block)
            elif block.kind == "output":
                if last is None:
                    raise PageError(f"line {block.line}: an output without a command before it")
                last.has_to_say(block)
    return missing


def _write(path: Path, block: Block) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if block.text.startswith("#!"):
        path.chmod(0o755)


def _variables(page: str, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    ports = _free_ports(sorted(set(_PORT.findall(page))))
    # Not its real path: the interpreter of a virtual environment is a link, and esmd stands beside the link.
    # The aws-cli of `make servers` before any other.
    path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".aws-cli" / "bin"), os.environ["PATH"]])
    return {
        **environ,
        **ports,
        "PATH": path,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "CHECKOUT": str(ROOT),
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def _free_ports(names: Sequence[str]) -> dict[str, str]:
    """A free port for each name; all are held until each has its own."""
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names}
        return {name: str(each.getsockname()[1]) for name, each in sockets.items()}


class Finished:
    """A command that has ended; None instead of its output where it could not be run here."""

    def __init__(self, output: str | None) -> None:
        self._output = output

    def has_to_say(self, block: Block) -> None:
        """Compare the output with a block."""
        if self._output is not None and (line := missing_line(block.text, self._output)) is not None:
            raise PageError(f"line {block.line}: the output has no {line!r} in its place; it is:\n{self._output}")


class Background:
    """A command that runs until the page ends. A context manager."""

    def __init__(self, block: Block, folder: Path, variables: Mapping[str, str]) -> None:
        self._block = block
        self._terminal = Terminal(block.text, folder, variables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._terminal.close()

    def has_to_say(self, block: Block) -> None:
        """Wait until it has said the lines of a block."""
        for output in self._watched(f"line {block.line}: not said in the background"):
            line = missing_line(block.text, output)
            if line is None:
                return

    def wait_for_port(self, port: int) -> None:
        """Wait until something listens there."""
        for _ in self._watched(f"line {self._block.line}: nothing listens on {port}"):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return

    def _watched(self, failure: str) -> Iterator[str]:
        """The output so far, whenever there is more of it, and ten times a second."""
        deadline = time.monotonic() + BACKGROUND_SECONDS
        while True:
            # Asked first: what it wrote before it ended has been read when we say that it ended.
            ended = self._terminal.process.poll() is not None
            while self._terminal.read(0 if ended else 0.1):
                pass
            yield self._terminal.output
            if ended or time.monotonic() > deadline:
                state = f"ended with {self._terminal.process.returncode}" if ended else "runs"
                raise PageError(f"{failure}; it {state} and has written:\n{self._terminal.output}")


class Terminal:
    """A shell whose output is a terminal of ours; it leads a session, so that all of it can be ended."""

    def __init__(self, script: str, folder: Path, variables: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        try:
            self.process = subprocess.Popen(
                ["sh", "-e", "-c", script],
                cwd=folder,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        self._written = bytearray()
        self._deserted = False

    @property
    def output(self) -> str:
        """What was written so far."""
        return self._written.decode(errors="replace").replace("\r\n", "\n")

    def read(self, patience: float) -> bool:
        """Take what was written within so many seconds; False if nothing was, or nobody is left who could write."""
        if self._deserted:
            time.sleep(patience)
            return False
        if not select.select([self._ours], [], [], patience)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # EIO: the last process that had the terminal has ended
            data = b""
        self._deserted = not data
        self._written += data
        return bool(data)

    def close(self) -> None:
        """End every process of it: asked, and after five seconds killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            deadline = time.monotonic() + 5.0
            while not self._deserted and time.monotonic() < deadline:
                self.read(0.1)
        self.process.wait(5.0)
        os.close(self._ours)


def _run(block: Block, folder: Path, variables: Mapping[str, str]) -> Finished:
    terminal = Terminal(block.text, folder, variables)
    try:
        deadline = time.monotonic() + MOST_SECONDS
        while terminal.process.poll() is None and time.monotonic() < deadline:
            terminal.read(0.05)
        while terminal.read(0):
            pass
        status, output = terminal.process.poll(), terminal.output
    finally:
        terminal.close()
    if status is None:
        raise PageError(f"line {block.line}: still runs after {MOST_SECONDS:g} s; it has written:\n{output}")
    if status != (expected := int(block.options.get("exit", "0"))):
        raise PageError(f"line {block.line}: ended with {status}, not {expected}; it has written:\n{output}")
    return Finished(output)


def missing_line(expected: str, output: str) -> str | None:
    """The first line of `expected` that does not stand in `output` after those before it; None if all do."""
    lines = iter(output.splitlines())
    for line in filter(str.strip, expected.splitlines()):
        wanted = re.compile(".*".join(map(re.escape, line.rstrip().split("..."))))
        if not any(wanted.fullmatch(said.rstrip()) for said in lines):
            return line
    return None
