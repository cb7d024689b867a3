"""Benchmarks of models beside other programs."""
