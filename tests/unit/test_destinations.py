"""Destinations: which are allowed, how their errors are classified, and what counts as accepted."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from esmd.destinations import base
from esmd.destinations.base import FailureMessage, destination_error
from esmd.destinations.factory import make_destination
from esmd.mappings import destinations
from esmd.mappings.destinations import DestinationArn, parse_destination
from esmd.pollers.errors import Kind, SourceError
from esmd.pollers.localstack import Connection, LocalStackClients

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:orders-failed"
TOPIC = "arn:aws:sns:eu-west-1:000000000000:orders-failed"
BUCKET = "arn:aws:s3:::orders-failed"
KAFKA = "^Kafka destinations are not supported by this version, SQS, SNS and S3 are$"
MESSAGE = FailureMessage(body='{"version":"1.0"}', s3_key="aws/lambda/id/shard/2026", s3_body='{"payload":"ä"}')


def first_cells(module: Any) -> list[str]:
    lines = [line for line in (module.__doc__ or "").splitlines() if line.startswith("| ")]
    return [line.strip("|").split("|")[0].strip() for line in lines[1:]]


# --- what may be a destination

ROWS: dict[str, dict[str, DestinationArn | str]] = {
    "`arn:aws:sqs:REGION:ACCOUNT:NAME`": {
        QUEUE: DestinationArn("sqs", "aws", "eu-west-1", "000000000000", "orders-failed"),
        "arn:aws-cn:sqs:cn-north-1:123456789012:A_b-9": DestinationArn(
            "sqs", "aws-cn", "cn-north-1", "123456789012", "A_b-9"
        ),
        f"arn:aws:sqs:eu-west-1:000000000000:{'q' * 81}": "queue name must be 1 to 80",
        "arn:aws:sqs:eu-west-1:000000000000:": "queue name must be 1 to 80",
        "arn:aws:sqs::000000000000:q": "region must be one such as us-east-1, not ''",
        "arn:aws:sqs:eu-west-1:1234:q": "account must be 12 digits, not '1234'",
        "arn:azure:sqs:eu-west-1:000000000000:q": "partition must be aws, aws-cn or the like, not 'azure'",
    },
    "`arn:aws:sns:REGION:ACCOUNT:NAME`": {
        TOPIC: DestinationArn("sns", "aws", "eu-west-1", "000000000000", "orders-failed"),
        f"{TOPIC}:6b5b9a8c-subscription": "topic name must be 1 to 256",
    },
    "`arn:aws:s3:::BUCKET`": {
        BUCKET: DestinationArn("s3", "aws", None, None, "orders-failed"),
        "arn:aws:s3:::my.bucket-1": DestinationArn("s3", "aws", None, None, "my.bucket-1"),
        "arn:aws:s3:::bucket/folder": "the bucket alone, without a key, not 'arn:aws:s3:::bucket/folder'",
        "arn:aws:s3:eu-west-1:000000000000:accesspoint/x": "no region and no account",
        "arn:aws:s3:eu-west-1::bucket": "no region and no account, .*, not 'arn:aws:s3:eu-west-1::bucket'",
        "arn:aws:s3::000000000000:bucket": "no region and no account",
        "arn:aws:s3:::Orders": "^the ARN's bucket name must be 3 to 63 lower-case letters, digits, dots or hyphens, with",
        "arn:aws:s3:::-x-": "letter or digit at both ends",
        "arn:aws:s3:::": "bucket name must be",
    },
    "a queue's or topic's ARN ending in `.fifo`": {
        f"{QUEUE}.fifo": "a FIFO queue cannot be an on-failure destination: Lambda takes standard queues only",
        f"{TOPIC}.fifo": "a FIFO topic cannot be an on-failure destination: Lambda takes standard topics only",
    },
    "`kafka://TOPIC`, an MSK cluster's ARN": {
        "kafka://failures": KAFKA,
        "arn:aws:kafka:us-east-1:000000000000:cluster/x/y": KAFKA,
    },
    "anything else": {
        "": "must be the ARN of a standard SQS queue, .* not ''",
        "orders-failed": "such as arn:aws:sqs:us-east-1:000000000000:failures .* not 'orders-failed'",
        "https://sqs.eu-west-1.amazonaws.com/000000000000/q": "not a queue URL",
        "http://localhost:4566/000000000000/q": "not a queue URL",
        "arn:aws:lambda:eu-west-1:000000000000:function:f": "'lambda' is none of the three",
        f"{QUEUE}\n": "must be",
        "x" * 60: "not 'x{60}'$",
        "x" * 61: r"not 'x{57}\.\.\.'$",
        "x" * 500: r"not 'x{57}\.\.\.'$",
    },
}


@pytest.mark.parametrize(("text", "expected"), [pair for row in ROWS.values() for pair in row.items()], ids=str)
def test_a_destination_is_taken_apart_or_refused(text: str, expected: DestinationArn | str):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            parse_destination(text)
    else:
        assert parse_destination(text) == expected
        assert str(expected) == text


def test_every_row_of_the_table_of_destinations_is_tested():
    assert list(ROWS) == first_cells(destinations)


# --- errors


def answer(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": "text"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "Operation")


ERRORS: dict[str, list[tuple[Exception, Kind, str]]] = {
    "throttled, 5xx, time-out, no connection": [
        (answer("Throttled", 429), Kind.BACK_OFF, "Throttled"),
        (answer("RequestThrottled", 403), Kind.BACK_OFF, "RequestThrottled"),
        (answer("SlowDown", 503), Kind.BACK_OFF, "SlowDown"),
        (answer("500", 500), Kind.BACK_OFF, "500"),
        (TimeoutError(), Kind.BACK_OFF, "TimeoutError"),
        (EndpointConnectionError(endpoint_url="http://x"), Kind.BACK_OFF, "EndpointConnectionError"),
    ],
    "HTTP 401, 403 or 404": [
        (answer("Unheard", 401), Kind.RECONFIGURE, "Unheard"),
        (answer("AuthorizationError", 403), Kind.RECONFIGURE, "AuthorizationError"),
        (answer("403", 403), Kind.RECONFIGURE, "AccessDenied"),
        (answer("NotFound", 404), Kind.RECONFIGURE, "NotFound"),
        (answer("NoSuchBucket", 404), Kind.RECONFIGURE, "NoSuchBucket"),
        (answer("404", 404), Kind.RECONFIGURE, "NoSuchBucket"),
    ],
    "SQS's code for a missing queue": [
        (
            answer("AWS.SimpleQueueService.NonExistentQueue", 400),
            Kind.RECONFIGURE,
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        (answer("QueueDoesNotExist", 400), Kind.RECONFIGURE, "QueueDoesNotExist"),
    ],
    "a code that begins with `KMS`, of throttling": [(answer("KMSThrottling", 400), Kind.BACK_OFF, "KMSThrottling")],
    "any other code that begins with `KMS`": [
        (answer("KMSDisabled", 400), Kind.RECONFIGURE, "KMSDisabled"),
        (answer("KMS.NotFoundException", 400), Kind.RECONFIGURE, "KMS.NotFoundException"),
    ],
    "another 4xx": [(answer("InvalidMessageContents", 400), Kind.REFUSED, "InvalidMessageContents")],
}


@pytest.mark.parametrize(("error", "kind", "code"), [case for cases in ERRORS.values() for case in cases])
def test_an_error_is_classified_and_names_the_destination(error: Exception, kind: Kind, code: str):
    failure = destination_error(error, parse_destination(QUEUE)).failure
    assert (failure.kind, failure.code) == (kind, code)
    assert failure.message.startswith(f"on-failure destination {QUEUE}: ")


@pytest.mark.parametrize(
    ("arn", "code", "message"),
    [
        (QUEUE, "QueueDoesNotExist", "the queue does not exist"),
        (TOPIC, "NotFound", "the topic does not exist"),
        (BUCKET, "404", "the bucket does not exist"),
        (BUCKET, "403", "text"),
    ],
)
def test_a_missing_target_is_called_missing(arn: str, code: str, message: str):
    failure = destination_error(answer(code, 404), parse_destination(arn)).failure
    assert failure.message == f"on-failure destination {arn}: {message}"


def test_every_row_of_the_table_of_errors_is_tested():
    assert [*ERRORS, "an answer without the proof of acceptance"] == first_cells(base)


# --- sending


class Clients:
    """Stands for `LocalStackClients`: every operation of every service is answered from `answers`, in order."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[str, str | None, str, dict[str, Any]]] = []

    async def client(self, service: str, region: str | None) -> tuple[Any, Connection]:
        clients = self

        class Client:
            def __getattr__(self, operation: str) -> Any:
                async def call(**arguments: Any) -> dict[str, Any]:
                    clients.calls.append((service, region, operation, arguments))
                    given = clients._answers.pop(0)
                    if isinstance(given, Exception):
                        raise given
                    return given

                return call

        return Client(), Connection(endpoint_url="http://localstack:4566", region=region, dummy_credentials=True)


FOUND = {"QueueUrl": "http://sqs.example:1/000000000000/orders-failed"}
URL = "http://localstack:4566/000000000000/orders-failed"
ACCEPTED = {"MessageId": "1", "ETag": '"x"'}
LOOK_UP = (
    "sqs",
    "eu-west-1",
    "get_queue_url",
    {"QueueName": "orders-failed", "QueueOwnerAWSAccountId": "000000000000"},
)
SEND = ("sqs", "eu-west-1", "send_message", {"QueueUrl": URL, "MessageBody": MESSAGE.body})
PUBLISH = ("sns", "eu-west-1", "publish", {"TopicArn": TOPIC, "Message": MESSAGE.body})
PUT = (
    "s3",
    "us-west-2",
    "put_object",
    {
        "Bucket": "orders-failed",
        "Key": MESSAGE.s3_key,
        "Body": '{"payload":"ä"}'.encode(),
        "ContentType": "application/json",
    },
)


def make(arn: str, clients: Any) -> Any:
    return make_destination(parse_destination(arn), clients, region="us-west-2")


@pytest.mark.parametrize(
    ("arn", "answers", "calls"),
    [(QUEUE, [FOUND, ACCEPTED], [LOOK_UP, SEND]), (TOPIC, [ACCEPTED], [PUBLISH]), (BUCKET, [ACCEPTED], [PUT])],
    ids=["sqs", "sns", "s3"],
)
async def test_the_record_goes_where_the_arn_says(arn: str, answers: list[Any], calls: list[Any]):
    clients = Clients(*answers)
    destination = make(arn, clients)
    await destination.send(MESSAGE)
    assert clients.calls == calls
    assert str(destination.arn) == arn


@pytest.mark.parametrize(
    ("arn", "answers"), [(QUEUE, [FOUND, {}]), (TOPIC, [{}]), (BUCKET, [{}])], ids=["sqs", "sns", "s3"]
)
async def test_an_answer_without_the_proof_of_acceptance_is_none(arn: str, answers: list[Any]):
    with pytest.raises(SourceError, match=r"MalformedAnswer: .* the answer has no (MessageId|ETag)") as caught:
        await make(arn, Clients(*answers)).send(MESSAGE)
    assert caught.value.failure.kind is Kind.BACK_OFF


@pytest.mark.parametrize("arn", [QUEUE, TOPIC, BUCKET], ids=["sqs", "sns", "s3"])
@pytest.mark.parametrize("what", ["check", "send"])
async def test_nothing_is_repeated_inside(arn: str, what: str):
    clients = Clients(answer("ServiceUnavailable", 503))
    destination = make(arn, clients)
    with pytest.raises(SourceError) as caught:
        await (destination.check() if what == "check" else destination.send(MESSAGE))
    assert caught.value.failure.kind is Kind.BACK_OFF
    assert len(clients.calls) == 1


async def test_the_queue_is_looked_up_once_and_again_after_a_failure():
    missing = answer("QueueDoesNotExist", 400)
    clients = Clients(FOUND, ACCEPTED, ACCEPTED, missing, missing, FOUND, ACCEPTED)
    destination = make(QUEUE, clients)
    await destination.send(MESSAGE)
    await destination.send(MESSAGE)
    for _ in range(2):
        with pytest.raises(SourceError):
            await destination.send(MESSAGE)
    await destination.send(MESSAGE)
    operations = [operation for _, _, operation, _ in clients.calls]
    look_up, send = "get_queue_url", "send_message"
    assert operations == [look_up, send, send, send, look_up, look_up, send]


@pytest.mark.parametrize("url", ["http://localstack:4566", "http://127.0.0.1:4566", "http://localhost:4566"])
async def test_a_bucket_goes_into_the_path_of_a_configured_endpoint(url: str):
    def connect(service: str, region: str | None) -> Connection:
        return Connection(endpoint_url=url, region=region, dummy_credentials=True)

    async with LocalStackClients(connect, profile=None, pool=1) as clients:
        client, _ = await clients.client("s3", "us-east-1")
        signed = await client.generate_presigned_url("put_object", {"Bucket": "orders-failed", "Key": "a/b"})
    assert signed.startswith(f"{url}/orders-failed/a/b?")
