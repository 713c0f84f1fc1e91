"""The handler of every scenario: needs nothing but itself, so that an emulator's own Lambda can run it too.

Its environment says what to do: `SCRIPT` (JSON, see scenarios.yaml) and `JOURNAL`, where each invocation leaves a line.
"""

import base64
import json
import os
import time
from pathlib import Path


def said_by(record):
    """The record's own id, and what it says."""
    source = record["eventSource"]
    if source == "aws:sqs":
        text, own = record["body"], record["messageId"]
    elif source == "aws:kinesis":
        text, own = base64.b64decode(record["kinesis"]["data"]).decode(), record["kinesis"]["sequenceNumber"]
    else:
        text, own = record["dynamodb"]["NewImage"]["said"]["S"], record["dynamodb"]["SequenceNumber"]
    try:
        return own, json.loads(text)
    except ValueError:
        return own, {"n": text}


def lines():
    """The journal so far; a line that is being written is left out."""
    try:
        text = Path(os.environ["JOURNAL"]).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def write(line):
    journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, (json.dumps(line) + "\n").encode())
    os.close(journal)


def handle(event, context):
    script, before = json.loads(os.environ["SCRIPT"]), [line for line in lines() if "records" in line]
    records = event["Records"]
    said = [said_by(record) for record in records]
    write(
        {
            "at": time.time(),
            "records": [what["n"] for _, what in said],
            "receive_counts": [int(r["attributes"]["ApproximateReceiveCount"]) for r in records if "attributes" in r],
            "first": records[0] if records else None,
            "event": [name for name in event if name != "Records"],
        }
    )
    if script.get("seconds"):
        time.sleep(script["seconds"])
        write({"ended": time.time(), "began_as": len(before)})
    if "answers" in script:
        return script["answers"][min(len(before), len(script["answers"]) - 1)]
    earlier = [n for line in before for n in line["records"]]
    failures, groups = [], set()
    for own, what in said:
        wish = what.get("fail", [])
        fails = wish == "always" or (wish and earlier.count(what["n"]) + 1 in wish)
        if fails or (script.get("rest_of_group") and what.get("group") in groups):
            failures.append({"itemIdentifier": own})
            groups.add(what.get("group"))
    if failures and script["mode"] == "raise":
        raise RuntimeError("as the record wished")
    return {"batchItemFailures": failures}
