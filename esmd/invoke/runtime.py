"""The Python runtime: loads a handler, calls it with Lambda's context, and shapes its answers and errors.

The daemon imports this module for inline functions. A worker runs it as a script, with its end of a socket pair and
the daemon's process id as arguments. It imports only the standard library, and what is slow to import when it needs it.

Frames go both ways over that socket: kind, length of the head, length of the body, head, body.

| frame    | from   | head                              | body                                                   |
|----------|--------|-----------------------------------|--------------------------------------------------------|
| `INIT`   | daemon | JSON: handler, python_path, what the context says of the function | empty                  |
| `READY`  | worker | empty                             | empty; the handler is loaded                           |
| `INVOKE` | daemon | JSON: request id, deadline        | the event, as it is                                    |
| `ANSWER` | worker | empty                             | what the handler returned, as JSON                     |
| `ERROR`  | worker | empty                             | Lambda's error object, in answer to `INIT` or `INVOKE` |

A worker leaves when the daemon closes its end. Its streams are ordinary pipes and none of this module's business:
a handler may close or replace them, change the folder, fork, or start processes, and the frames still pass.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Awaitable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any

    Handler = Callable[[Any, "LambdaContext"], Any]

FRAME = struct.Struct("!BII")
INIT, READY, INVOKE, ANSWER, ERROR = range(1, 6)

MAX_RESPONSE_BYTES = 6_291_556
"""Lambda's limit on an answer, as its error message spells it [specification F.1]."""

MAX_MESSAGE_CHARACTERS = 32_768
"""Longest `errorMessage`; an exception that quotes its input must not flood the log or a failure record."""


class Identity:
    """`context.identity`: nobody, as in every invocation by an event source [specification F.2]."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


class LambdaContext:
    """The second argument of a handler [specification F.2].

    `memory_limit_in_mb` is text, as on Lambda. `client_context` and `tenant_id` are None: only callers of the
    Invoke API can send them.
    """

    def __init__(
        self,
        *,
        name: str,
        arn: str,
        memory_size: int,
        log_stream: str,
        request_id: str,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.aws_request_id = request_id
        self.function_name = name
        self.function_version = "$LATEST"
        self.invoked_function_arn = arn
        self.memory_limit_in_mb = str(memory_size)
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = log_stream
        self.identity = Identity()
        self.client_context = None
        self.tenant_id: str | None = None
        self._deadline = deadline
        self._clock = clock

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended; never negative."""
        return max(0, int((self._deadline - self._clock()) * 1000))

    def __repr__(self) -> str:
        return f"LambdaContext(function_name={self.function_name!r}, aws_request_id={self.aws_request_id!r})"


class LoadError(Exception):
    """A handler cannot be loaded. `error_type` is Lambda's, `str()` says what was searched."""

    def __init__(self, error_type: str, message: str, stack: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.stack = list(stack)


class Reply:
    """The end of an invocation: a frame's kind (`ANSWER` or `ERROR`) and body."""

    __slots__ = ("body", "kind")

    def __init__(self, kind: int, body: bytes) -> None:
        self.kind = kind
        self.body = body


# --- loading


def load(handler: str, python_path: Sequence[str]) -> Handler:
    """Import `module.sub:callable` and find the callable in it (dots lead into classes and instances).

    Args:
        handler: the name, normalised.
        python_path: folders that were put in front of `sys.path`; they are named when something is missing.

    Raises:
        LoadError: `Runtime.ImportModuleError`, `Runtime.UserCodeSyntaxError`, `Runtime.HandlerNotFound`, or the
            class name of what the module raised.
    """
    module_name, _, attribute = handler.partition(":")
    importlib.invalidate_caches()  # a file that was missing a moment ago may be there now
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}. {_searched(error, module_name, python_path)}"
        raise LoadError("Runtime.ImportModuleError", message, stack_of(error.__traceback__)) from error
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        message = f"Syntax error in module '{module_name}': {error.msg} ({place})"
        stack = [f'  File "{error.filename}", line {error.lineno}\n    {(error.text or "").strip()}\n']
        raise LoadError("Runtime.UserCodeSyntaxError", message, stack) from error
    except Exception as error:
        raise LoadError(type(error).__name__, text_of(error), stack_of(error.__traceback__)) from error
    target: Any = module
    for name in attribute.split("."):
        try:
            target = getattr(target, name)
        except AttributeError as error:
            where = getattr(module, "__file__", None) or module_name
            near = _did_you_mean(name, [each for each in dir(target) if not each.startswith("_")])
            message = f"Handler '{attribute}' missing on module '{module_name}' ({where}).{near}"
            raise LoadError("Runtime.HandlerNotFound", message) from error
    if not callable(target):
        message = f"Handler '{attribute}' of module '{module_name}' is not callable ({type(target).__name__})."
        raise LoadError("Runtime.HandlerNotFound", message)
    return target  # type: ignore[no-any-return]


def _searched(error: ImportError, module_name: str, python_path: Sequence[str]) -> str:
    """Where the missing module was looked for, and what was there under a similar name."""
    folders = ", ".join(python_path) or "no folder of yours"
    text = f"Searched: {folders}, and the packages installed in {sys.prefix}."
    missing = error.name
    if not isinstance(error, ModuleNotFoundError) or not missing:
        return text
    import pkgutil  # noqa: PLC0415  only a failure needs it

    parent, _, leaf = missing.rpartition(".")
    folders_of_parent = getattr(sys.modules.get(parent), "__path__", None) if parent else python_path
    beside = [entry.name for entry in pkgutil.iter_modules(folders_of_parent or [])]
    if missing == module_name or module_name.startswith(missing + "."):
        text += _did_you_mean(leaf, beside)
    return text


def _did_you_mean(name: str, candidates: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415  only a failure needs it

    near = difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""


# --- errors, as Lambda shapes them


def error_object(error_type: str, message: str, request_id: str, stack: Sequence[str] = ()) -> bytes:
    """Lambda's error object as JSON [specification F.1]."""
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[: MAX_MESSAGE_CHARACTERS - 3] + "..."
    return json.dumps(
        {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": list(stack)}
    ).encode()


def text_of(error: BaseException) -> str:
    """`str(error)`, also when that fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  a broken __str__ must not hide the error
        return f"<{type(error).__name__} that cannot be printed>"


def stack_of(traceback: TracebackType | None) -> list[str]:
    """`stackTrace`: one entry per frame, outermost first, without the frames that led to the handler."""
    import traceback as formatting  # noqa: PLC0415  only a failure needs it

    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if filename not in {__file__, importlib.__file__} and not filename.startswith("<frozen importlib"):
            break
        traceback = traceback.tb_next
    return formatting.format_tb(traceback)


# --- invoking


def begin(handler: Handler, event: bytes, context: LambdaContext) -> Reply | Awaitable[object]:
    """Call the handler. What it returns to be awaited is handed on, for `finish` on the caller's loop.

    Raises:
        SystemExit: the handler asked its process to end.
        KeyboardInterrupt: likewise.
    """
    request_id = context.aws_request_id
    try:
        argument = json.loads(event)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the event's fault
        return Reply(ERROR, error_object("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}", request_id))
    try:
        answer = handler(argument, context)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  CancelledError and the like end an invocation, not the process
        return _failed(error, request_id)
    return answer if isinstance(answer, Awaitable) else marshal(answer, request_id)


async def finish(answer: Awaitable[object], request_id: str) -> Reply:
    """Await what a handler returned. Raises like `begin`."""
    try:
        result = await answer
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  as in begin
        return _failed(error, request_id)
    return marshal(result, request_id)


def _failed(error: BaseException, request_id: str) -> Reply:
    stack = stack_of(error.__traceback__)
    return Reply(ERROR, error_object(type(error).__name__, text_of(error), request_id, stack))


def marshal(answer: object, request_id: str) -> Reply:
    """An answer as JSON. Bytes pass as they are; decimals become numbers; NaN is written as Python writes it."""
    if isinstance(answer, bytes):
        body = answer
    else:
        try:
            try:
                body = json.dumps(answer, ensure_ascii=False, default=_jsonable).encode()
            except UnicodeEncodeError:  # half a surrogate pair: only the escaped form can carry it
                body = json.dumps(answer, default=_jsonable).encode()
        except Exception as error:  # noqa: BLE001  also what a __str__ or a property of the answer raises
            message = f"Unable to marshal response: {text_of(error)}"
            return Reply(ERROR, error_object("Runtime.MarshalError", message, request_id))
    if len(body) > MAX_RESPONSE_BYTES:
        message = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."
        return Reply(ERROR, error_object("Function.ResponseSizeTooLarge", message, request_id))
    return Reply(ANSWER, body)


def _jsonable(value: object) -> object:
    decimal = sys.modules.get("decimal")  # if nobody imported it, nothing is a Decimal
    if decimal is not None and isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# --- the worker process


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
        header = self._read(FRAME.size)
        if header is None:
            return None
        kind, head_length, body_length = FRAME.unpack(header)
        head, body = self._read(head_length), self._read(body_length)
        return None if head is None or body is None else (kind, head, body)

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a frame without a head."""
        rest = memoryview(FRAME.pack(kind, 0, len(body)) + body)
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
        handler = load(setting["handler"], setting["python_path"])
    except LoadError as error:
        _flush()
        channel.send(ERROR, error_object(error.error_type, str(error), "", error.stack))
        return 1
    loop: asyncio.Runner | None = None  # made when an answer is first to be awaited, then kept
    this_process = os.getpid()
    _flush()
    channel.send(READY)
    while (frame := channel.receive()) is not None:
        context = LambdaContext(**setting["function"], **json.loads(frame[1]))
        reply = begin(handler, frame[2], context)
        if not isinstance(reply, Reply):
            if loop is None:
                import asyncio  # noqa: PLC0415  costs more than the rest of the start

                loop = asyncio.Runner()
            reply = loop.run(finish(reply, context.aws_request_id))
        _flush()
        if os.getpid() != this_process:  # a child that the handler forked has come back in its place
            os._exit(0)
        channel.send(reply.kind, reply.body)
    if loop is not None:
        loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
