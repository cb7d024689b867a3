"""One file a source of evidence; see `loaders.registry`."""
