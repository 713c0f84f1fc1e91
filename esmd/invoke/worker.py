"""The worker process of a Python function: loads a handler once, then invokes it until the daemon closes its end.

It is run as a script, with its end of a socket pair and the daemon's process id as arguments, and needs nothing but
the standard library and `esmd.invoke.runtime`, which lies beside it; large events are read by pydantic's parser, where it
is at hand. Its streams are ordinary pipes and none of its business: a handler may close or replace them, change the
folder, fork, or start processes, and the frames still pass.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from esmd.invoke import runtime
else:
    # From its file: a function's own environment need not have esmd, and may have modules of any name.
    _file = __file__.removesuffix("worker.py") + "runtime.py"
    _spec = importlib.util.spec_from_file_location("esmd_runtime", _file)
    runtime = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(runtime)


LARGE_BYTES = 64 * 1024
"""An event from which on a quicker parser is worth its import."""


class Channel:
    """The worker's end of the socket pair; a bare descriptor, so that only the end of the process closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        # A forked child must neither answer nor keep the socket open after this process has ended.
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def receive(self) -> tuple[int, bytes, bytes] | None:
        """The next frame: kind, head, body. None when the daemon has closed its end."""
        header = self._read(runtime.FRAME.size)
        if header is None:
            return None
        kind, head_length, body_length = runtime.FRAME.unpack(header)
        head, body = self._read(head_length), self._read(body_length)
        return None if head is None or body is None else (kind, head, body)

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a frame without a head."""
        rest = memoryview(runtime.FRAME.pack(kind, 0, len(body)) + body)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _read(self, length: int) -> bytes | None:
        received = os.read(self._descriptor, length) if length else b""
        if len(received) == length:
            return received
        parts = [received]
        missing = length - len(received)
        while missing and parts[-1]:
            parts.append(os.read(self._descriptor, missing))
            missing -= len(parts[-1])
        return None if missing else b"".join(parts)


def argument(event: bytes) -> object:
    """What `json.loads` makes of an event; of a large one in half the time, where pydantic's parser is at hand."""
    quick = _quick_parser() if len(event) >= LARGE_BYTES else None
    return json.loads(event) if quick is None else runtime.read_json(event, quick)


@functools.cache
def _quick_parser() -> Callable[..., object] | None:
    """Imported when a large event has come: it is not worth its memory to others. None in environments without it."""
    try:
        from pydantic_core import from_json  # noqa: PLC0415
    except Exception:  # noqa: BLE001  a handler may bring one that was built for another machine
        return None
    return from_json


def die_with(parent: int, descriptor: int) -> None:
    """See to it that this process does not outlive the daemon, even one that was killed."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  needed here only

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        import select  # noqa: PLC0415
        import threading  # noqa: PLC0415

        def watch() -> None:
            hangup = select.poll()
            hangup.register(descriptor, 0)
            hangup.poll()
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=watch, name="esmd-watch", daemon=True).start()
    if os.getppid() != parent:  # it was gone before the above could take effect
        os._exit(1)


def _log_as_lambda_does() -> None:
    """Give the root logger a handler, as Lambda does: `setLevel` is all that a function has to do to be heard."""
    import logging  # noqa: PLC0415  the daemon, which imports this module, has its own logging

    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(logging.Formatter("[%(levelname)s]\t%(name)s\t%(message)s"))
    logging.getLogger().addHandler(to_stderr)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # what a handler does to its streams is its own business
            stream.flush()


def main(descriptor: int, parent: int) -> int:
    """Live as a worker: load once, then invoke until the daemon closes its end. Returns the exit status."""
    die_with(parent, descriptor)
    channel = Channel(descriptor)
    first = channel.receive()
    if first is None:
        return 0
    setting = json.loads(first[1])
    sys.argv = [setting["handler"]]
    sys.path[:0] = setting["python_path"]
    _log_as_lambda_does()
    try:
        handler = runtime.load(setting["handler"], setting["python_path"])
    except runtime.LoadError as error:
        _flush()
        channel.send(runtime.ERROR, runtime.error_object(error.error_type, str(error), "", error.stack))
        return 1
    loop: asyncio.Runner | None = None  # made when an answer is first to be awaited, then kept
    this_process = os.getpid()
    _flush()
    channel.send(runtime.READY)
    while (frame := channel.receive()) is not None:
        head = json.loads(frame[1])
        os.environ["_X_AMZN_TRACE_ID"] = runtime.trace_header(head["request_id"])
        context = runtime.LambdaContext(**setting["function"], **head)
        reply = runtime.begin(handler, frame[2], context, parse=argument)
        if not isinstance(reply, runtime.Reply):
            if loop is None:
                import asyncio  # noqa: PLC0415  costs more than the rest of the start

                loop = asyncio.Runner()
            reply = loop.run(runtime.finish(reply, context.aws_request_id))
        _flush()
        if os.getpid() != this_process:  # a child that the handler forked has come back in its place
            os._exit(0)
        channel.send(reply.kind, reply.body)
    if loop is not None:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
