"""Sections of a report, one per file: `sections(contents)` returns none if the run has nothing of the kind.

A model names its own sections in its declaration (`report=`); every run has the others.
"""
