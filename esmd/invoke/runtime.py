"""The Python runtime: loads a handler, calls it with Lambda's context, and shapes its answers and errors.

The daemon imports this module for inline functions, a worker (`esmd.invoke.worker`) loads it from its file. It imports
only the standard library, and what is slow to import when it needs it.

Daemon and worker talk in frames over a socket pair: kind, length of the head, length of the body, head, body.

| frame    | from   | head                              | body                                                   |
|----------|--------|-----------------------------------|--------------------------------------------------------|
| `INIT`   | daemon | JSON: handler, python_path, what the context says of the function | empty                  |
| `READY`  | worker | empty                             | empty; the handler is loaded                           |
| `INVOKE` | daemon | JSON: request id, deadline        | the event, as it is                                    |
| `ANSWER` | worker | empty                             | what the handler returned, as JSON                     |
| `ERROR`  | worker | empty                             | Lambda's error object, in answer to `INIT` or `INVOKE` |
"""

from __future__ import annotations

import importlib
import json
import struct
import sys
import time
from collections.abc import Awaitable

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    def w3c(self) -> dict[str, str]:
        """The trace context that the caller sent along: nothing, as event sources send none."""
        return {}

    def log(self, message: object) -> None:
        """Print `message` as it is: not even a line's end is added."""
        sys.stdout.write(str(message))

    def __repr__(self) -> str:
        return f"LambdaContext(function_name={self.function_name!r}, aws_request_id={self.aws_request_id!r})"


def context_like(pattern: LambdaContext, request_id: str, deadline: float) -> LambdaContext:
    """The context of another invocation of the same function; quicker than making one from what is known of it."""
    context = LambdaContext.__new__(LambdaContext)
    context.__dict__.update(pattern.__dict__)
    context.aws_request_id = request_id
    context.identity = Identity()
    context._deadline = deadline  # noqa: SLF001  our own
    return context


def trace_header(request_id: str) -> str:
    """A trace header for an invocation: `_X_AMZN_TRACE_ID`, in the form that X-Ray gives it [specification F.2].

    Its ids are made of the request's, so that they lead back to it. Nothing is sampled: nobody collects traces here.
    """
    digits = request_id.replace("-", "")
    if len(digits) != 32 or digits.strip("0123456789abcdef"):
        import hashlib  # noqa: PLC0415  the daemon's own ids need none

        digits = hashlib.sha256(request_id.encode()).hexdigest()[:32]
    return f"Root=1-{int(time.time()):08x}-{digits[:24]};Parent={digits[16:]};Sampled=0"


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


def read_json(text: bytes, quick: Callable[..., object]) -> object:
    """What `json.loads` makes of it, also its exception, in less than half the time.

    Args:
        text: JSON.
        quick: pydantic's `from_json`.
    """
    try:
        return quick(text, cache_strings="keys")
    except ValueError:  # not JSON, or with half a surrogate pair, which only `json.loads` puts up with
        return json.loads(text)


def begin(
    handler: Handler, event: Any, context: LambdaContext, *, parse: Callable[[Any], object] = json.loads
) -> Reply | Awaitable[object]:
    """Call the handler. What it returns to be awaited is handed on, for `finish` on the caller's loop.

    Args:
        handler: what to call.
        event: JSON text, or what `parse` takes.
        context: the second argument.
        parse: makes the first argument of the event.

    Raises:
        SystemExit: the handler asked its process to end.
        KeyboardInterrupt: likewise.
    """
    request_id = context.aws_request_id
    try:
        argument = parse(event)
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


_NOTHING = Reply(ANSWER, b"null")
"""What most handlers answer."""


_NOTHING_FAILED = Reply(ANSWER, b'{"batchItemFailures": []}')
"""What most handlers answer that may report failures."""


def marshal(answer: object, request_id: str) -> Reply:
    """An answer as JSON. Bytes pass as they are; decimals become numbers; NaN is written as Python writes it."""
    if answer is None:
        return _NOTHING
    if (
        type(answer) is dict
        and len(answer) == 1
        and type(failures := answer.get("batchItemFailures")) is list
        and not failures
    ):
        return _NOTHING_FAILED
    if isinstance(answer, bytes):
        body = answer
    else:
        try:
            try:
                body = _to_json(answer).encode()
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


_to_json = json.JSONEncoder(ensure_ascii=False, default=_jsonable).encode
