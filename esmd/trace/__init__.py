"""One record's life, from its events: in a log, or in what a daemon remembers."""
