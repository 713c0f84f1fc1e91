"""Chaos: a daemon under writers and a random schedule of faults, and an oracle that says whether anything was lost.

make chaos MINUTES=10 SEED=1
"""
