"""An SQS mapping at work: receiving, batches on their way, settling."""
