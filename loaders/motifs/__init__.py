"""Motif collections and the scan of sequences for their hits."""
