"""A Python handler as Lambda has it, run by Lambda's own client: `pip install awslambdaric`."""

import json


def handler(event, context):
    print(f"{len(event['Records'])} orders, {context.get_remaining_time_in_millis()} ms left")
    failed = [record for record in event["Records"] if "order" not in json.loads(record["body"])]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
