"""How errors are classified: as botocore raises them, as AWS spells them."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError

from esmd.pollers.errors import Failure, Kind, SourceError, classify, classify_entry
from esmd.testing.fake_sqs import FakeSqs
from esmd.testing.faults import Drop, Refuse, Truncated

from support.servers import make_queue, sqs_client

URL = "http://127.0.0.1:4566"


def answer(code: str, status: int, *, message: str = "no", newer: str | None = None) -> ClientError:
    error = {"Code": code, "Message": message}
    if newer is not None:
        error["QueryErrorCode"] = newer
    return ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "ReceiveMessage")


MISSING = "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        # what SQS answers
        (answer(MISSING, 400, newer="QueueDoesNotExist"), Kind.RECONFIGURE, MISSING),
        (answer("QueueDoesNotExist", 400), Kind.RECONFIGURE, "QueueDoesNotExist"),
        (answer("AccessDenied", 403), Kind.RECONFIGURE, "AccessDenied"),
        (answer("AccessDeniedException", 400), Kind.RECONFIGURE, "AccessDeniedException"),
        (answer("ExpiredToken", 403), Kind.RECONFIGURE, "ExpiredToken"),
        (answer("InvalidClientTokenId", 403), Kind.RECONFIGURE, "InvalidClientTokenId"),
        (answer("KMS.DisabledException", 400, newer="KmsDisabled"), Kind.RECONFIGURE, "KMS.DisabledException"),
        (answer("ReceiptHandleIsInvalid", 400), Kind.REFUSED, "ReceiptHandleIsInvalid"),
        (answer("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400), Kind.REFUSED, None),
        (answer("RequestThrottled", 400), Kind.BACK_OFF, "RequestThrottled"),
        (answer("ThrottlingException", 400), Kind.BACK_OFF, "ThrottlingException"),
        (answer("OverLimit", 403, newer="OverLimit"), Kind.BACK_OFF, "OverLimit"),
        (answer("RequestExpired", 400), Kind.BACK_OFF, "RequestExpired"),
        (answer("InternalFailure", 500), Kind.BACK_OFF, "InternalFailure"),
        # the status decides about codes that nobody has listed
        (answer("SomethingNew", 400), Kind.REFUSED, "SomethingNew"),
        (answer("SomethingNew", 429), Kind.BACK_OFF, "SomethingNew"),
        (answer("SomethingNew", 503), Kind.BACK_OFF, "SomethingNew"),
        (answer("SomethingNew", 200), Kind.BACK_OFF, "SomethingNew"),
        (answer("502", 502), Kind.BACK_OFF, "502"),
        # what streams answer
        (answer("ProvisionedThroughputExceededException", 400), Kind.BACK_OFF, None),
        (answer("ResourceNotFoundException", 400), Kind.RECONFIGURE, None),
        (answer("ExpiredIteratorException", 400), Kind.RE_SEEK, None),
        (answer("TrimmedDataAccessException", 400), Kind.RE_SEEK, None),
        # on the way there
        (boto.EndpointConnectionError(endpoint_url=URL), Kind.BACK_OFF, "EndpointConnectionError"),
        (boto.ConnectTimeoutError(endpoint_url=URL), Kind.BACK_OFF, "ConnectTimeoutError"),
        (boto.ReadTimeoutError(endpoint_url=URL), Kind.BACK_OFF, "ReadTimeoutError"),
        (boto.ConnectionClosedError(endpoint_url=URL), Kind.BACK_OFF, "ConnectionClosedError"),
        (boto.HTTPClientError(error="reset"), Kind.BACK_OFF, "HTTPClientError"),
        (boto.SSLError(endpoint_url=URL, error="certificate"), Kind.BACK_OFF, "SSLError"),
        (boto.ResponseStreamingError(error="cut"), Kind.BACK_OFF, "ResponseStreamingError"),
        (TimeoutError(), Kind.BACK_OFF, "TimeoutError"),
        (ConnectionResetError(104, "reset by peer"), Kind.BACK_OFF, "ConnectionResetError"),
        # before anything was sent
        (boto.NoCredentialsError(), Kind.RECONFIGURE, "NoCredentialsError"),
        (
            boto.PartialCredentialsError(provider="env", cred_var="secret"),
            Kind.RECONFIGURE,
            "PartialCredentialsError",
        ),
        (boto.CredentialRetrievalError(provider="sso", error_msg="expired"), Kind.RECONFIGURE, None),
        (boto.ProfileNotFound(profile="work"), Kind.RECONFIGURE, "ProfileNotFound"),
        (boto.NoRegionError(), Kind.RECONFIGURE, "NoRegionError"),
        # what nobody has thought of: waiting loses nothing
        (boto.ParamValidationError(report="wrong"), Kind.BACK_OFF, "ParamValidationError"),
        (RuntimeError("session is closed"), Kind.BACK_OFF, "RuntimeError"),
        (KeyError("Messages"), Kind.BACK_OFF, "KeyError"),
    ],
    ids=repr,
)
def test_an_error_is_classified_and_keeps_its_name(error, kind, code):
    failure = classify(error)
    assert failure.kind is kind
    given = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    assert failure.code == (code or given)
    assert failure.message


def test_the_message_is_the_services_own():
    assert classify(answer("AccessDenied", 403, message="not yours")).message == "not yours"


@pytest.mark.parametrize("error", [answer("AccessDenied", 403, message=""), TimeoutError(), RuntimeError()])
def test_a_message_is_never_empty(error):
    assert classify(error).message


def test_the_status_is_kept_and_does_not_make_failures_differ():
    failure = classify(answer("InternalFailure", 503))
    assert failure.status == 503
    assert failure == Failure(Kind.BACK_OFF, "InternalFailure", "no")


@pytest.mark.parametrize(
    "response",
    [{}, {"Error": None}, {"Error": {}}, {"Error": {"Code": None}}, {"Error": {"Code": 7, "Message": 7}}],
)
def test_an_answer_of_any_shape_is_classified(response):
    error = RuntimeError("odd")
    error.response = response
    failure = classify(error)
    assert failure.kind is Kind.BACK_OFF
    assert isinstance(failure.code, str)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True, "Message": "stale"}, Kind.REFUSED),
        ({"Id": "0", "Code": "InvalidParameterValue", "SenderFault": True}, Kind.REFUSED),
        ({"Id": "0", "Code": "InternalError", "SenderFault": False}, Kind.BACK_OFF),
        ({"Id": "0", "Code": "RequestThrottled", "SenderFault": True}, Kind.BACK_OFF),
        ({"Id": "0", "Code": "SomethingNew"}, Kind.BACK_OFF),
        ({}, Kind.BACK_OFF),
    ],
)
def test_a_failed_entry_is_classified(entry, kind):
    failure = classify_entry(entry)
    assert failure.kind is kind
    assert failure.code == entry.get("Code", "Unknown")
    assert failure.message == entry.get("Message", failure.code)


def test_a_source_error_reads_as_code_and_message():
    assert str(SourceError(Failure(Kind.BACK_OFF, "OverLimit", "wait"))) == "OverLimit: wait"


# --- as the client library really raises them


async def test_a_missing_queue_has_the_name_that_awss_texts_use(fake_sqs: FakeSqs):
    async with sqs_client(fake_sqs.endpoint_url) as client:
        with pytest.raises(ClientError) as caught:
            await client.get_queue_url(QueueName="nobody")
    failure = classify(caught.value)
    assert (failure.kind, failure.code, failure.status) == (Kind.RECONFIGURE, MISSING, 400)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Refuse(503, "ServiceUnavailable"), Kind.BACK_OFF),
        (Refuse(500), Kind.BACK_OFF),
        (Refuse(403, "AccessDenied"), Kind.RECONFIGURE),
        (Refuse(400, "RequestThrottled"), Kind.BACK_OFF),
        (Drop(), Kind.BACK_OFF),
        (Truncated(mid_body=True), Kind.BACK_OFF),
    ],
    ids=repr,
)
async def test_faults_of_a_server_are_classified(fake_sqs: FakeSqs, fault, kind):
    async with sqs_client(fake_sqs.endpoint_url) as client:
        queue = await make_queue(client)
        fake_sqs.faults.add("ReceiveMessage", fault)
        with pytest.raises(Exception) as caught:
            await client.receive_message(QueueUrl=queue.url)
    assert classify(caught.value).kind is kind


async def test_nobody_at_the_endpoint_is_a_reason_to_wait():
    async with FakeSqs() as server:
        url = server.endpoint_url
    async with sqs_client(url) as client:
        with pytest.raises(boto.EndpointConnectionError) as caught:
            await client.list_queues()
    failure = classify(caught.value)
    assert failure.kind is Kind.BACK_OFF
    assert url in failure.message
