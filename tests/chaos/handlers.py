"""The handler of the chaos run: does what each record wishes, and writes down what it has processed.

A record is `{"n": its number, "k": its key, "w": its wish}`. Wishes: `ok`; `flaky`, which fails every third time or so;
`poison`, which always fails; `slow`, which takes a moment. A line of the journal is `[source, key, n, time]`.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time


def parts(record):
    """The record's own id, its source, and what it says."""
    match record["eventSource"]:
        case "aws:sqs":
            name = record["eventSourceARN"].rpartition(":")[2]
            return record["messageId"], name, json.loads(record["body"])
        case "aws:kinesis":
            number = record["kinesis"]["sequenceNumber"]
            return (
                number,
                record["eventSourceARN"].rpartition("/")[2],
                json.loads(base64.b64decode(record["kinesis"]["data"])),
            )
        case _:
            image = record["dynamodb"]["NewImage"]
            said = {"n": int(image["n"]["N"]), "k": image["id"]["S"], "w": image["w"]["S"]}
            return record["dynamodb"]["SequenceNumber"], record["eventSourceARN"].split("/")[1], said


def handle(event, context):
    """Process a batch in order; the first record of a stream or of a FIFO queue's group that fails holds back the rest."""
    lines, failures, stopped = [], [], set()
    for record in event["Records"]:
        own, _source, said = parts(record)
        group = record.get("attributes", {}).get("MessageGroupId")
        ordered = record["eventSource"] != "aws:sqs" or group is not None
        if ordered and group in stopped:
            failures.append({"itemIdentifier": own})
            continue
        wish = said["w"]
        if wish == "poison" or (wish == "flaky" and random.random() < 0.35):
            failures.append({"itemIdentifier": own})
            if record["eventSource"] != "aws:sqs":
                break
            stopped.add(group)
            continue
        if wish == "slow":
            time.sleep(0.03)
        lines.append(json.dumps([os.environ["CHAOS_MAPPING"], said["k"], said["n"], time.time()]) + "\n")
    journal = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, "".join(lines).encode())
    os.close(journal)
    return {"batchItemFailures": failures}
