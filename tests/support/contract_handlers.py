"""Handlers of the contract tests. Each writes what it was given to the journal that its environment names."""

from __future__ import annotations

import json
import os
import time


def journal(name, event, **more):
    line = json.dumps({"handler": name, "at": time.time(), "records": event["Records"], **more}) + "\n"
    descriptor = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def attempt(record):
    return int(record["attributes"]["ApproximateReceiveCount"])


def fine(event, context):
    journal("fine", event, request_id=context.aws_request_id)


async def fine_async(event, context):
    journal("fine_async", event)


def fails_first(event, context):
    journal("fails_first", event)
    if any(attempt(r) == 1 for r in event["Records"]):
        raise RuntimeError("the first attempt always fails")


def always_fails(event, context):
    journal("always_fails", event)
    raise RuntimeError("no attempt ever succeeds")


def names_failures(event, context):
    """Fails bodies that say `bad` for ever, and, as FIFO asks, everything of a batch after the first failure."""
    journal("names_failures", event)
    bad = [r for r in event["Records"] if "bad" in r["body"]]
    return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in bad]}


def fifo(event, context):
    """Message 2 of each group fails once; then it and the rest of its group in the batch are named."""
    journal("fifo", event)
    failures, stopped = [], set()
    for record in event["Records"]:
        group = record["attributes"]["MessageGroupId"]
        if record["body"] == "2" and attempt(record) == 1:
            stopped.add(group)
        if group in stopped:
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def hangs(event, context):
    journal("hangs", event, pid=os.getpid())
    time.sleep(3600)


def exits(event, context):
    journal("exits", event)
    os._exit(3)


def rubbish(event, context):
    journal("rubbish", event)
    return {"batchItemFailures": [{"foo": "notvalid"}]}


def slow(event, context):
    """Takes a second, and says when it began and ended."""
    journal("slow-begin", event)
    time.sleep(1)
    journal("slow-end", event)
