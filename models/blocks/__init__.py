"""Code that two models share."""
