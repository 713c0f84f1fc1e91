"""Handlers of the contract tests. Each writes what it was given to the journal that its environment names."""

from __future__ import annotations

import base64
import json
import os
import time


def journal(name, event, **more):
    write_down({"handler": name, "at": time.time(), "records": event["Records"], **more})


def write_down(value):
    line = json.dumps(value) + "\n"
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


# --- streams: the data of a record is JSON that says what to do with it


def said_by(event):
    return [json.loads(base64.b64decode(r["kinesis"]["data"])) for r in event["Records"]]


def script(event, context):
    """Raises or answers what the first record with such a wish says, else reports the records that wish it."""
    journal("script", event, request_id=context.aws_request_id)
    said = said_by(event)
    for data in said:
        if "raise" in data:
            raise RuntimeError(data["raise"])
        if "answer" in data:
            return data["answer"]
    bad = [r for r, data in zip(event["Records"], said, strict=True) if data.get("report")]
    return {"batchItemFailures": [{"itemIdentifier": r["kinesis"]["sequenceNumber"]} for r in bad]}


def unhurried(event, context):
    """Takes a fifth of a second, and says when it began and ended."""
    journal("unhurried-begin", event)
    time.sleep(0.2)
    journal("unhurried-end", event)


def hangs_once(event, context):
    """Hangs at its first invocation, as told by a file beside the journal."""
    journal("hangs_once", event)
    try:
        os.close(os.open(os.environ["JOURNAL"] + ".hung", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    time.sleep(3600)


def sums(event, context):
    """Adds up the numbers of a tumbling window."""
    journal("sums", event, window={name: value for name, value in event.items() if name != "Records"})
    if event["isFinalInvokeForWindow"]:
        return {"state": event["state"]}
    return {"state": {"total": event["state"].get("total", 0) + sum(data["n"] for data in said_by(event))}}


def table(event, context):
    """Fails as long as there is an item in the batch that is called `poison`."""
    journal("table", event)
    if any(r["dynamodb"]["Keys"]["id"] == {"S": "poison"} for r in event["Records"]):
        raise RuntimeError("a poison item")


def tally(event, context):
    """Writes down key and number of each record, and nothing else: for large runs."""
    records = zip(event["Records"], said_by(event), strict=True)
    write_down([[r["kinesis"]["partitionKey"], data["n"]] for r, data in records])


def extent(event, context):
    """Writes down the shard and the first and last number of a batch without gaps; anything else is an error."""
    shard, _, _ = event["Records"][0]["eventID"].partition(":")
    numbers = [data["n"] for data in said_by(event)]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"{shard} is not in order: {numbers}")
    write_down([shard, numbers[0], numbers[-1]])
