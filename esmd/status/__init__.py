"""What can be seen of a running daemon: snapshots, rates, recent history."""
