"""Checked files into rows: reading, lifting, joining, quarantine."""
