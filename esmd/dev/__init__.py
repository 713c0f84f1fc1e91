"""What `esmd dev` adds to a run: sources that are missing, sample traffic and events, an eye on dead letters and code."""
