"""Several processes for one daemon: who does what share, and how they talk."""
