"""Sections of a report, one a file: `sections(contents)` gives none where the run has nothing of the kind.

A model names those of its own in its declaration (`report=`); the others are those of every run.
"""
