"""A stream mapping at work: Kinesis and DynamoDB Streams, shard by shard."""
