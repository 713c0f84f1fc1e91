"""How a batch reaches a handler."""
