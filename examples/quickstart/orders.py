"""The handler of the quickstart: takes orders, and names those that it could not take."""

import json


def process(event, context):
    failures = []
    for record in event["Records"]:
        order = json.loads(record["body"])
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        try:
            charge(order, attempt)
        except ValueError as error:
            print(f"order {order['id']}, attempt {attempt}: {error}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def charge(order, attempt):
    if order["amount"] < 0:
        raise ValueError("a negative amount can never be charged")
    if order.get("card") == "flaky" and attempt == 1:
        raise ValueError("the card terminal did not answer")
    print(f"order {order['id']}, attempt {attempt}: charged {order['amount']} EUR")
