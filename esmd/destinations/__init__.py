"""Where failure records of stream mappings go: SQS, SNS, S3."""
