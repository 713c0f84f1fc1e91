"""Positions of stream mappings as a person sees and moves them."""
