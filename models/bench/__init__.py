"""Benchmarks of models against other programs."""
