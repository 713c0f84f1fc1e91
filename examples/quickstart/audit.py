"""Prints what changed in a table."""


def record(event, context):
    for change in event["Records"]:
        image = change["dynamodb"].get("NewImage", {})
        print(f"{change['eventName']} {change['dynamodb']['Keys']['id']['S']}: amount {image['amount']['N']}")
