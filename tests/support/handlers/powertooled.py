"""Handlers built with AWS Lambda Powertools, as its users write them."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes import (
    DynamoDBStreamEvent,
    KinesisStreamEvent,
    SQSEvent,
    event_source,
)
from aws_lambda_powertools.utilities.parser.models import DynamoDBStreamModel, KinesisDataStreamModel, SqsModel
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="orders")
metrics = Metrics(namespace="Shop", service="orders")


def text_of(record):
    """A record's payload, whatever its source; Powertools hands records over as its own data classes."""
    if hasattr(record, "kinesis"):
        return record.kinesis.data_as_text()
    if hasattr(record, "dynamodb"):
        return record.dynamodb.new_image["text"]
    return record.body


def ship(record):
    if text_of(record).startswith("bad"):
        raise ValueError(f"cannot ship {text_of(record)}")


def processed(event, context: LambdaContext, processor):
    return process_partial_response(event=event, record_handler=ship, processor=processor, context=context)


from_sqs = BatchProcessor(event_type=EventType.SQS)
from_kinesis = BatchProcessor(event_type=EventType.KinesisDataStreams)
from_dynamodb = BatchProcessor(event_type=EventType.DynamoDBStreams)
from_fifo = SqsFifoPartialProcessor()
from_fifo_groups = SqsFifoPartialProcessor(skip_group_on_error=True)
all_reported = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def sqs(event, context: LambdaContext):
    return processed(event, context, from_sqs)


def kinesis(event, context: LambdaContext):
    return processed(event, context, from_kinesis)


def dynamodb(event, context: LambdaContext):
    return processed(event, context, from_dynamodb)


def fifo(event, context: LambdaContext):
    return processed(event, context, from_fifo)


def fifo_groups(event, context: LambdaContext):
    return processed(event, context, from_fifo_groups)


def sqs_without_raising(event, context: LambdaContext):
    return processed(event, context, all_reported)


@logger.inject_lambda_context(clear_state=True)
def logged(event, context: LambdaContext):
    logger.info("shipped", extra={"order": "Zoë 7"})
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception("refused")


@metrics.log_metrics(capture_cold_start_metric=True)
def measured(event, context: LambdaContext):
    metrics.add_metric(name="Shipped", unit=MetricUnit.Count, value=3)


@event_source(data_class=SQSEvent)
def sqs_fields(event: SQSEvent, context: LambdaContext):
    return [
        {
            "id": record.message_id,
            "handle": record.receipt_handle,
            "body": record.json_body,
            "md5": record.md5_of_body,
            "source": record.event_source,
            "arn": record.event_source_arn,
            "region": record.aws_region,
            "queue": record.queue_url,
            "received": record.attributes.approximate_receive_count,
            "sent": record.attributes.sent_timestamp,
            "group": record.attributes.message_group_id,
            "author": record.message_attributes["author"].string_value,
            "type": record.message_attributes["author"].data_type,
            "blob": record.message_attributes["blob"].binary_value,
        }
        for record in event.records
    ]


@event_source(data_class=KinesisStreamEvent)
def kinesis_fields(event: KinesisStreamEvent, context: LambdaContext):
    return [
        {
            "id": record.event_id,
            "name": record.event_name,
            "source": record.event_source,
            "arn": record.event_source_arn,
            "role": record.invoke_identity_arn,
            "key": record.kinesis.partition_key,
            "number": record.kinesis.sequence_number,
            "arrived": record.kinesis.approximate_arrival_timestamp,
            "version": record.kinesis.kinesis_schema_version,
            "data": record.kinesis.data_as_json(),
        }
        for record in event.records
    ]


@event_source(data_class=DynamoDBStreamEvent)
def dynamodb_fields(event: DynamoDBStreamEvent, context: LambdaContext):
    return [
        {
            "id": record.event_id,
            "name": record.event_name.name,
            "version": record.event_version,
            "region": record.aws_region,
            "arn": record.event_source_arn,
            "created": record.dynamodb.approximate_creation_date_time,
            "number": record.dynamodb.sequence_number,
            "size": record.dynamodb.size_bytes,
            "view": record.dynamodb.stream_view_type.name,
            "keys": {name: int(value) for name, value in record.dynamodb.keys.items()},
            "text": record.dynamodb.new_image["text"],
            "tags": sorted(record.dynamodb.new_image["tags"]),
            "old": record.dynamodb.old_image,
        }
        for record in event.records
    ]


MODELS = {"sqs": SqsModel, "kinesis": KinesisDataStreamModel, "dynamodb": DynamoDBStreamModel}


def parsed(event, context: LambdaContext):
    """The event through the parser's model of the source that it names itself."""
    source = event["Records"][0]["eventSource"].removeprefix("aws:")
    return [record.model_dump(mode="json", by_alias=True) for record in MODELS[source].model_validate(event).Records]
