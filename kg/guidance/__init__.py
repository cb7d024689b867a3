"""A release as weighted, signed arrays."""

from kg.guidance.graph import HELD_OUT, GuidanceGraph, chrom_of, read_guidance

__all__ = [
    "HELD_OUT",
    "GuidanceGraph",
    "chrom_of",
    "read_guidance",
]
