"""Loads the handler that `_HANDLER` names, and calls it once for every line of JSON on stdin; see the package."""

import importlib
import json
import os
import sys
import tempfile
import traceback
from types import SimpleNamespace

answers = os.fdopen(os.dup(1), "wb", buffering=0)
log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
for descriptor in (1, 2):
    os.dup2(log.fileno(), descriptor)
version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
module, _, name = os.environ["_HANDLER"].rpartition(".")

for line in sys.stdin.buffer:
    asked = json.loads(line)
    context = SimpleNamespace(aws_request_id=asked["invoke-id"], function_version=version)
    try:
        handler = getattr(importlib.import_module(module), name)
        answer, failed = handler(json.loads(asked["payload"] or "null"), context), False
    except Exception as error:
        kind = "Runtime.ImportModuleError" if isinstance(error, ImportError) else type(error).__name__
        stack = traceback.format_tb(error.__traceback__)[1:]
        answer, failed = {"errorMessage": str(error), "errorType": kind, "stackTrace": stack}, True
    log.seek(0)
    printed = log.read().decode("utf-8", "replace")
    log.truncate(log.seek(0))
    answers.write(json.dumps({"payload": json.dumps(answer), "is_error": failed, "logs": printed}).encode() + b"\n")
