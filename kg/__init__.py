"""The graph: what exists, where it is kept, and in which version."""
