"""What the daemon serves to others: its control socket, AWS's API of event source mappings, status, metrics, a page."""
