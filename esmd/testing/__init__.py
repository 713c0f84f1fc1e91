"""Servers for tests and demonstrations: an embedded AWS and a fast fake queue."""
