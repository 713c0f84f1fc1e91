"""Handling again what was given up: failure records of streams, dead letters of queues."""
