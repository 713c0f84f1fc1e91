"""What the user writes, turned into validated, frozen models."""
