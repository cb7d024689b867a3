"""Datasets in the draft: rows compared, written, hashed."""
