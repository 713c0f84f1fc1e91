"""What AWS was recorded to do, as data, tried on the real daemon and on what the emulators bring themselves.

make conformance
"""
