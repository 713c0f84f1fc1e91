"""What `esmd dev` adds to a run: the queues a configuration names, sample traffic, and an eye on dead letters."""
