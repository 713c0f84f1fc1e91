"""Progress of stream mappings that survives restarts and kills."""
