"""Counts clicks of a Kinesis stream; one that is no JSON makes the whole batch fail, and bisecting finds it."""

import base64
import json


def count(event, context):
    clicks = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]
    print(f"{len(clicks)} clicks: {', '.join(click['page'] for click in clicks)}")
