"""The errors of SQS as the fake raises them: name on the wire, the name old clients know, and HTTP status."""

from __future__ import annotations

MISSING_QUEUE = "The specified queue does not exist."

# Names that the older query protocol spelled differently; SQS still sends them in `x-amzn-query-error`, and
# botocore reports them as the error's code.
_QUERY_NAMES = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}

# Errors that are no shapes of the service's model: they come from the frame around it.
_FRAME_TYPES = {
    "InvalidParameterValue": "com.amazon.coral.service#InvalidParameterValueException",
    "MissingParameter": "com.amazon.coral.service#MissingRequiredParameterException",
    "InvalidAction": "com.amazon.coral.service#UnknownOperationException",
    "MalformedInput": "com.amazon.coral.service#SerializationException",
    "InternalFailure": "com.amazon.coral.service#InternalFailure",
    "ServiceUnavailable": "com.amazon.coral.service#ServiceUnavailableException",
}


class SqsError(Exception):
    """A request that SQS refuses.

    Attributes:
        name: the error as the service's model names it, for example `QueueDoesNotExist`.
        message: what SQS says about it.
        status: HTTP status of the answer.
    """

    def __init__(self, name: str, message: str, *, status: int = 400) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status

    @property
    def wire_type(self) -> str:
        """The value of `__type` in the JSON answer."""
        return _FRAME_TYPES.get(self.name, f"com.amazonaws.sqs#{self.name}")

    @property
    def query_error(self) -> str:
        """The value of the header `x-amzn-query-error`: the query protocol's code, and whose fault it is."""
        return f"{_QUERY_NAMES.get(self.name, self.name)};{'Sender' if self.status < 500 else 'Receiver'}"

    @property
    def is_senders_fault(self) -> bool:
        """Whether sending the same again is pointless (`SenderFault` of a batch entry)."""
        return self.status < 500


def invalid_value(value: object, parameter: str, reason: str) -> SqsError:
    """Return the refusal of a parameter's value, in SQS's wording."""
    text = f"Value {value} for parameter {parameter} is invalid. Reason: {reason}"
    return SqsError("InvalidParameterValue", text)
