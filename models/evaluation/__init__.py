"""Measures of runs, and the gate."""
