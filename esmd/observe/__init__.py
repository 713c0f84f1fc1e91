"""What a user can observe: typed events, and the sinks that turn them into log lines and statistics."""
