"""What keeps a configuration from running, or will hurt later: found out without changing anything."""
