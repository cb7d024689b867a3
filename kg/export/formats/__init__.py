"""One file a format; each holds a `FORMAT`, found by `kg.export.registry`."""
