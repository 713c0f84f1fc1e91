"""Where records come from: all AWS I/O of sources, and no rule about failures."""
