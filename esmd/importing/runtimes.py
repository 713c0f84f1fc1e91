"""Which form a function of Lambda takes here, by its runtime and by where its code is.

| runtime                  | code                         | form                                                              |
|--------------------------|------------------------------|-------------------------------------------------------------------|
| `python...`              | a folder                     | `handler`, with the folder in `python_path`                       |
| `provided...`            | a folder                     | `command`: the program `bootstrap` in it                          |
| any other, or an image   | any                          | `lambda`: the function of that name, invoked through Lambda's API |
| any                      | S3, or in the template       | `lambda`                                                          |

The last form works wherever the function is deployed too, such as to LocalStack. A comment says how to run it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TO_RUN_HERE = {
    "nodejs": "to run it here instead: npm install aws-lambda-ric, and command: [npx, aws-lambda-ric, HANDLER]",
    "java": "to run it here instead: command: [java, -cp, CLASSPATH, ...AWSLambda, HANDLER] with AWS's runtime interface client",
    "ruby": "to run it here instead: gem install aws_lambda_ric, and command: [aws_lambda_ric, HANDLER]",
    "dotnet": "to run it here instead: publish it as a program with Amazon.Lambda.RuntimeSupport, and name that in command",
    "go": "to run it here instead: build it, and name the program in command",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What is known of a function.

    Attributes:
        name: of the function where it is deployed.
        runtime: empty for an image.
        handler: empty where there is none.
        folder: of its code, relative to the configuration; None where it is not on this machine.
        elsewhere: where the code is if there is no folder, for a person.
        layers: whether it has any.
        timeout: seconds, or whatever stands there; None where it is left out.
        memory: megabytes, the same.
        reserved: concurrency, the same.
        environment: variables.
    """

    name: str
    runtime: str
    handler: str
    folder: str | None
    elsewhere: str = ""
    layers: bool = False
    timeout: Any = None
    memory: Any = None
    reserved: Any = None
    environment: dict[str, str] = field(default_factory=dict)


def form_of(code: Code) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings of a function by the module's table, and notes for its reader."""
    if code.folder is not None and code.runtime.startswith("python") and code.handler:
        path = {} if code.folder == "." else {"python_path": [code.folder]}
        notes = ("it has layers: add their python folders to python_path",) if code.layers else ()
        return {"handler": code.handler, **path, **_of_process(code)}, notes
    if code.folder is not None and code.runtime.startswith("provided"):
        program = f"{code.folder}/bootstrap" if code.folder.startswith(("/", ".")) else f"./{code.folder}/bootstrap"
        handler = {"handler": code.handler} if code.handler else {}
        note = "runs the program bootstrap, which has to be built for this machine: import the template that `sam build` writes"
        return {"command": [program], **handler, **_of_process(code)}, (note,)
    reserved = {} if code.reserved is None else {"reserved_concurrency": code.reserved}
    return {"lambda": code.name, **reserved}, _why_lambda(code)


def _of_process(code: Code) -> dict[str, Any]:
    settings = {
        "timeout": code.timeout,
        "memory_size": code.memory,
        "reserved_concurrency": code.reserved,
        "environment": code.environment or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _why_lambda(code: Code) -> tuple[str, ...]:
    what = code.elsewhere or (f"runtime {code.runtime}" if code.runtime else "a container image")
    invoked = f"{what}: invoked through Lambda's API, where it has to be deployed"
    if not code.runtime:
        return (invoked, "to run it here instead: start the image, and name its URL in url")
    hint = next((text for name, text in _TO_RUN_HERE.items() if code.runtime.startswith(name)), None)
    return (invoked,) if hint is None else (invoked, hint)
