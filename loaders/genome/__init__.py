"""Assemblies and arithmetic on intervals."""
