"""Guidance graph and cells in, predictions out; nothing but this package knows torch."""
