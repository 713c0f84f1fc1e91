"""The daemon while it runs: which mappings there are, and how that changes."""
