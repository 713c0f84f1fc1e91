"""What happens to records: pure rules, with no sockets, no clock and no logger."""
