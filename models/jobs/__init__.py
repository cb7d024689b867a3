"""Whole jobs from a release to a run: train, retrain, reproduce, evaluate."""
