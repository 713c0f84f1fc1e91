"""What is fuzzed: every reader of bytes that somebody else wrote.

A target takes any bytes. It lets no exception out: those that its reader documents it takes, any other is a find. It
also fails where an invariant of the reader does not hold, named in its docstring.

| reader                              | target               | exceptions it may raise | and always |
|-------------------------------------|----------------------|-------------------------|-----|
| `config/loader.py`                  | `configuration`      | none                    | a configuration or printable errors |
| `config/document.py`                | `document`           | none                    | depth and number of nodes are bounded |
| `config/values.py`                  | `settings`           | `ValueError`            | - |
| `mappings/patterns.py`, `filters.py` | `pattern`           | `InvalidPattern`        | matching never raises |
| `mappings/filters.py`               | `filtered_record`    | none                    | a record passes or does not |
| `mappings/partial.py`               | `partial_answer`     | none                    | only ids of the batch have failed |
| `mappings/window_replies.py`        | `window_reply`       | none                    | the state is the answer's, as JSON |
| `pollers/http_answers.py`           | `http_answer`        | `NotHttp`               | the same however it is split |
| `pollers/connections.py`            | `connection`         | none                    | every request ends |
| `pollers/wire.py`                   | `aws_answer`         | `ProtocolError`         | an error has a class and a text |
| `pollers/wire_sqs.py`               | `messages`           | `SourceError`           | every message has its handle |
| `pollers/wire_streams.py`           | `pages`              | `SourceError`           | numbers are digits, iterators are text |
| `esmd/invoke/error_objects.py`      | `error_object`       | none                    | texts are UTF-8 and bounded |
| `esmd/invoke/environment.py`        | `worker_frames`      | none                    | an answer, or the worker is killed |
| `esmd/invoke/runtime_messages.py`   | `runtime_message`    | none                    | texts are UTF-8 and bounded |
| `esmd/invoke/runtime_connection.py` | `runtime_connection` | none                    | holds no more than an answer may have |
| `esmd/api/server.py`                | `api_connection`     | none                    | a status that is meant, no defect |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fuzz import api_targets, config_targets, handler_targets, runtime_targets, wire_targets

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Target:
    """A function of bytes, valid inputs to begin with, and the words of their language."""

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


TARGETS = tuple(
    Target(run.__name__, run, *given)
    for run, *given in (
        *config_targets.TARGETS,
        *handler_targets.TARGETS,
        *wire_targets.TARGETS,
        *runtime_targets.TARGETS,
        *api_targets.TARGETS,
    )
)
