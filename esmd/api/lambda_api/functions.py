"""How AWS shows a registered function, and how clients name one.

Only what is true of it is shown. There is no role, and variables and headers may hold secrets: they are left out.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from esmd.api.lambda_api.errors import LambdaError, constraint, invalid
from esmd.config import aws, values
from esmd.config.schema import CommandFunction, InvokedFunction, ProcessFunction, PythonFunction
from esmd.functions import LONGEST_INVOCATION, NO_ACCOUNT, TOLD_MEMORY
from esmd.mappings.outcomes import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esmd.config.schema import AnyFunction
    from esmd.control.protocol import Control

_DIFFERS = "The derived qualifier from the function name does not match the specified qualifier."


class FunctionNames:
    """Finds functions by what clients call them.

    Args:
        control: the daemon.
        environ: decides on the region of functions that no mapping uses.
    """

    def __init__(self, control: Control, *, environ: Mapping[str, str]) -> None:
        self._control = control
        self._environ = environ

    def find(self, text: str, qualifier: str | None = None, *, shown: str = "") -> str:
        """The name in the configuration.

        Args:
            text: a name, partial ARN or ARN, with a qualifier or without.
            qualifier: the request's own.
            shown: what an error shows as the qualifier where there is none.

        Raises:
            LambdaError: there is no such function, or no such version of it.
        """
        try:
            target, derived = values.lambda_parts(values.lambda_target(text))
        except ValueError as error:
            raise constraint(f"'{text[:200]}'", "functionName", f"Member {error}") from None
        if qualifier and derived and qualifier != derived:
            raise invalid(_DIFFERS)
        version = qualifier or derived
        name = target.rpartition(":")[2]
        if name not in self._control.config.functions or version not in (None, "", LATEST):
            arn = f"{self.arn(name)}{f':{version or shown}' if version or shown else ''}"
            raise LambdaError("ResourceNotFoundException", f"Function not found: {arn}")
        return name

    def matches(self, text: str, name: str) -> bool:
        """Whether a list's filter means the function of that name.

        Raises:
            LambdaError: it names no function.
        """
        try:
            target, _ = values.lambda_parts(values.lambda_target(text))
        except ValueError as error:
            raise constraint(f"'{text[:200]}'", "functionName", f"Member {error}") from None
        return target.rpartition(":")[2] == name

    def arn(self, name: str) -> str:
        """The ARN of a function: in the region and account of the mappings that use it."""
        made = self._control.functions.get(name)
        if made is not None:
            return made.arn
        for entry in self._control.entries():
            if entry.mapping.function_name == name:
                return entry.function_arn
        settings = self._control.config.aws
        where = aws.endpoint("lambda", settings=settings, environ=self._environ)
        region = aws.region(where, settings=settings, environ=self._environ) or aws.DEFAULT_REGION
        return f"arn:aws:lambda:{region}:{NO_ACCOUNT}:function:{name}"


def configuration(name: str, settings: AnyFunction, *, arn: str, modified: str, version: str = "") -> dict[str, Any]:
    """What GetFunctionConfiguration answers.

    Args:
        name: in the configuration.
        settings: its settings.
        arn: its ARN.
        modified: since when it is as it is, as ISO 8601.
        version: appended to the ARN where a list of versions is asked for.
    """
    answer: dict[str, Any] = {
        "FunctionName": name,
        "FunctionArn": f"{arn}:{version}" if version else arn,
        "Timeout": math.ceil(settings.longest or LONGEST_INVOCATION),
        "MemorySize": TOLD_MEMORY,
        "LastModified": modified,
        "Version": LATEST,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Image",
        "CodeSize": 0,
        "Description": "",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": revision(name, settings),
    }
    if isinstance(settings, ProcessFunction):
        answer["MemorySize"] = settings.memory_size or TOLD_MEMORY
    if isinstance(settings, PythonFunction):
        runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
        answer |= {"PackageType": "Zip", "Runtime": runtime, "Handler": settings.handler.replace(":", ".")}
    if isinstance(settings, CommandFunction) and settings.handler:
        answer["Handler"] = settings.handler
    return answer


def reserved(settings: AnyFunction) -> dict[str, Any]:
    """The `Concurrency` of GetFunction; empty where none is reserved."""
    if not isinstance(settings, InvokedFunction) or settings.reserved_concurrency is None:
        return {}
    return {"Concurrency": {"ReservedConcurrentExecutions": settings.reserved_concurrency}}


def revision(name: str, settings: AnyFunction) -> str:
    """Changes when the settings do; what may be secret has no part in it."""
    text = settings.model_dump_json(exclude={"environment", "headers"})
    return str(uuid5(NAMESPACE_URL, f"esmd:{name}:{text}"))
